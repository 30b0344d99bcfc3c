"""Curves: cumulative errors of the rows of a section, and scores of a run while it trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from regbench.errors import DataError
from regbench.metrics.types import Floats
from regbench.report.board import BoardRow, Section
from regbench.report.figures.style import add_legend, figure_with_axes, label, line_style
from regbench.report.ranking import rank_rows
from regbench.report.statements import title
from regbench.results.layout import CURVE, RESULT
from regbench.results.store import read_json_lines

LARGEST_ERROR = 20.0
"""Right end of a cumulative error curve in px, as in AUC@20."""


def cumulative_percent(row: BoardRow, thresholds: Floats) -> Floats:
    """Percent of the test pairs of a row's runs whose error is at most each threshold.

    Args:
        row: has a finished run.
        thresholds: ``(T,)`` px.

    Returns:
        ``(T,)`` in [0, 100]. A failed pair is below no threshold.
    """
    errors = np.sort(np.concatenate([run.pairs.errors.for_auc for run in row.runs if run.pairs is not None]))
    return 100.0 * np.searchsorted(errors, thresholds, side="right") / len(errors)


def cumulative_error_curves(section: Section, rows: Sequence[BoardRow]) -> Figure:
    """One cumulative error curve for each row; AUC@k is the area below it up to k px, divided by k."""
    figure, axes = figure_with_axes(title(section))
    thresholds = np.linspace(0.0, LARGEST_ERROR, 401)
    for number, ranked in enumerate(rank_rows(rows).finished):
        colour, dashes = line_style(number)
        (line,) = axes.plot(
            thresholds, cumulative_percent(ranked.row, thresholds), color=colour, label=label(str(ranked.names))
        )
        line.set_dashes(dashes)
    axes.set(xlabel="corner error, px", ylabel="test pairs, %", xlim=(0, LARGEST_ERROR), ylim=(0, 100))
    axes.grid(alpha=0.3)
    add_legend(figure)
    return figure


def training_curves(runs: Sequence[Path]) -> Figure:
    """MACE over identity's MACE of the modules that stages deploy, over training steps.

    Args:
        runs: run directories. A stage has one point, at its end, unless ``--set run.eval_every=STEPS`` adds more.

    Raises:
        DataError: a run has no curve.
    """
    figure, axes = figure_with_axes("")
    number = 0
    for run in runs:
        for module, points in _read_curves(run).items():
            colour, dashes = line_style(number)
            steps, values = zip(*points, strict=True)
            name = f"{run.name}: {module}" if len(runs) > 1 else module
            (line,) = axes.plot(steps, values, color=colour, marker="o", markersize=3, label=label(name))
            line.set_dashes(dashes)
            number += 1
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set(xlabel="training step", ylabel="MACE, × identity", ylim=(0, None))
    axes.grid(alpha=0.3)
    add_legend(figure)
    return figure


def _read_curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, MACE over identity's) of each deployed module; steps are counted through all stages."""
    path = run / CURVE
    try:
        path.stat()
        entries = read_json_lines(path)
        stages = json.loads((run / RESULT).read_text(encoding="utf-8"))["training"]["stages"]
        first_step, steps = {}, 0
        for stage in stages:
            first_step[stage["name"]] = steps
            steps += stage["steps"]
        curves: dict[str, list[tuple[int, float]]] = {}
        for entry in entries:
            point = (first_step[entry["stage"]] + entry["step"], float(entry["mace_over_identity"]))
            curves.setdefault(entry["deploys"], []).append(point)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; training curves are drawn of run directories") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is broken ({' '.join(str(error).split())}); run the job again") from error
    if not entries and path.stat().st_size:
        raise DataError(f"{path} is broken; run the job again")
    if not curves:
        raise DataError(f"{path} holds no scores; the strategy deploys nothing while it trains")
    return curves
