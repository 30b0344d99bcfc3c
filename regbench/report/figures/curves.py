"""Figures as papers draw them, as PDF, PNG or SVG: curves, bars, radars, matrices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from regbench.errors import DataError, RegbenchError, UsageError
from regbench.metrics.types import Floats
from regbench.report.board import Group, Row
from regbench.report.figures.style import line_style
from regbench.report.ranking import Ranked, rank
from regbench.report.statements import title
from regbench.results.layout import CURVE, RESULT

SUFFIXES = (".pdf", ".png", ".svg")
REACH = 20.0
"""Largest error of a cumulative curve in px: where AUC@20 ends."""
AUCS = ("auc@3", "auc@5", "auc@10", "auc@20")


def check_suffix(path: Path) -> None:
    """Raise UsageError where the name of a figure says no format that can be written."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a figure is written as {', '.join(SUFFIXES)}; name such a file")


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the same figure gives the same bytes.

    Raises:
        UsageError: the suffix names no format.
        RegbenchError: the file cannot be written.
    """
    check_suffix(path)
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix, {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "regbench"}):
            figure.savefig(path, dpi=150, metadata=undated)
    except OSError as error:
        raise RegbenchError(f"{path} cannot be written: {error.strerror}") from error


def cumulative(row: Row, at: Floats) -> Floats:
    """Percent of the pairs of all runs of a row with an error of at most ``at`` px; failed pairs never are."""
    errors = np.sort(np.concatenate([e.pairs.errors.for_auc for e in row.entries if e.pairs is not None]))
    return 100.0 * np.searchsorted(errors, at, side="right") / len(errors)


def curves(group: Group, rows: Sequence[Row]) -> Figure:
    """Cumulative error curves, a line a row; AUC@k is the area below a line up to k, divided by k."""
    figure, axes = _figure(title(group))
    at = np.linspace(0.0, REACH, 401)
    for number, ranked in enumerate(_finished(rows)):
        colour, dashes = line_style(number)
        (drawn,) = axes.plot(at, cumulative(ranked.row, at), color=colour, label=str(ranked.names))
        drawn.set_dashes(dashes)
    axes.set(xlabel="corner error, px", ylabel="test pairs, %", xlim=(0, REACH), ylim=(0, 100))
    axes.grid(alpha=0.3)
    _legend(figure)
    return figure


def bars(group: Group, rows: Sequence[Row]) -> Figure:
    """AUC@3/5/10/20 as bars with 95 % intervals over test images."""
    ranking = _finished(rows)
    figure, axes = _figure(title(group))
    width = 0.8 / len(ranking)
    for number, ranked in enumerate(ranking):
        values = np.array([ranked.values[m] for m in AUCS])
        bounds = np.array([ranked.intervals[m] or (v, v) for m, v in zip(AUCS, values, strict=True)])
        reach = np.maximum(0.0, np.stack([values - bounds[:, 0], bounds[:, 1] - values]))
        place = np.arange(len(AUCS)) + (number - (len(ranking) - 1) / 2) * width
        style = {"color": line_style(number)[0], "label": str(ranked.names), "capsize": 2}
        axes.bar(place, values, width, yerr=reach, error_kw={"elinewidth": 0.8}, **style)
    axes.set_xticks(range(len(AUCS)), [m.upper() for m in AUCS])
    axes.set(ylabel="%, with 95 % intervals over test images", ylim=(0, 100))
    _legend(figure)
    return figure


def radar(groups: Mapping[Group, Sequence[Row]]) -> Figure:
    """AUCs on axes from a centre: AUC@3/5/10/20 on one set of test pairs, AUC@10 of each where there are several.

    Rows of several sets are one line where their components are the same.
    """
    found: dict[str, dict[str, float]] = {}
    for group, rows in groups.items():
        for ranked in _finished(rows):
            several = {f"{group.dataset}\nAUC@10": ranked.values["auc@10"]}
            line = several if len(groups) > 1 else {m.upper(): ranked.values[m] for m in AUCS}
            found.setdefault(str(ranked.names), {}).update(line)
    spokes = list(dict.fromkeys(name for line in found.values() for name in line))
    if len(spokes) < 3:
        raise UsageError("a radar needs three axes: name runs on one set of test pairs, or on three or more")
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    turn = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    for number, (name, line) in enumerate(found.items()):
        values = [line.get(spoke, np.nan) for spoke in spokes]
        colour, dashes = line_style(number)
        (drawn,) = axes.plot([*turn, turn[0]], [*values, values[0]], color=colour, marker="o", markersize=3, label=name)
        drawn.set_dashes(dashes)
    axes.set_xticks(turn, spokes)
    axes.set_ylim(0, 100)
    axes.tick_params(axis="x", pad=14)
    _legend(figure)
    return figure


def training(runs: Sequence[Path]) -> Figure:
    """MACE over identity's of what each stage deploys, while a run trains; dots are ends of stages.

    Args:
        runs: run directories; ``--set run.eval_every=STEPS`` makes more than one dot a stage.

    Raises:
        DataError: a run has no curve.
    """
    figure, axes = _figure("")
    number = 0
    for run in runs:
        for name, points in _curve(run).items():
            colour, dashes = line_style(number)
            steps, values = zip(*points, strict=True)
            label = f"{run.name}: {name}" if len(runs) > 1 else name
            (drawn,) = axes.plot(steps, values, color=colour, marker="o", markersize=3, label=label)
            drawn.set_dashes(dashes)
            number += 1
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set(xlabel="training step", ylabel="MACE, × identity", ylim=(0, None))
    axes.grid(alpha=0.3)
    _legend(figure)
    return figure


def transfer(groups: Mapping[Group, Sequence[Row]]) -> Figure:
    """The zero-shot matrix of one method: trained on (down) and tested on (across), MACE over identity's.

    Raises:
        UsageError: the runs are of several methods, or two are of one cell.
    """
    cells: dict[tuple[str, str], tuple[float, float]] = {}
    methods = set()
    for group, rows in groups.items():
        for ranked in _finished(rows):
            identity = ranked.row.identity
            parts = (identity.translator, identity.registrator, identity.strategy)
            methods.add(" × ".join(part.name for part in parts if part))
            trained = identity.train_dataset.name if identity.train_dataset else "nothing"
            if (trained, group.dataset) in cells:
                raise UsageError(
                    f"two rows were trained on {trained} and tested on {group.dataset}; name the runs of one method, "
                    "under one protocol"
                )
            cells[trained, group.dataset] = (ranked.ratio, ranked.values["mace"])
    if len(methods) > 1:
        raise UsageError(f"a matrix is of one method, these are {', '.join(sorted(methods))}; name the runs of one")
    down, across = (sorted({cell[k] for cell in cells}) for k in (0, 1))
    ratio = np.full((len(down), len(across)), np.nan)
    for (trained, tested), (value, _) in cells.items():
        ratio[down.index(trained), across.index(tested)] = value
    figure = Figure(figsize=(2.2 + 1.3 * len(across), 1.6 + 0.8 * len(down)), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(ratio, cmap="viridis_r", vmin=0, vmax=1.2, aspect="auto")
    for (trained, tested), (value, mace) in cells.items():
        dark = value > 0.6
        place = (across.index(tested), down.index(trained))
        axes.text(
            *place, f"{value:.2f}\n{mace:.2f} px", ha="center", va="center", color="w" if dark else "k", fontsize=9
        )
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.set(xlabel="tested on", ylabel="trained on", title=methods.pop())
    figure.colorbar(shown, label="MACE, × identity")
    return figure


def _figure(heading: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(heading, fontsize=9)
    return figure, axes


def _legend(figure: Figure) -> None:
    """Below the axes, where it hides no line."""
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)


def _finished(rows: Sequence[Row]) -> list[Ranked]:
    return [ranked for ranked in rank(list(rows)).rows if ranked.values]


def _curve(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Points of each deployed module, by name; steps count on from stage to stage."""
    path = run / CURVE
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        stages = json.loads((run / RESULT).read_text(encoding="utf-8"))["training"]["stages"]
        before, start = {}, 0
        for stage in stages:
            before[stage["name"]] = start
            start += stage["steps"]
        found: dict[str, list[tuple[int, float]]] = {}
        for entry in entries:
            point = (before[entry["stage"]] + entry["step"], float(entry["mace_over_identity"]))
            found.setdefault(entry["deploys"], []).append(point)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; training curves are drawn of run directories") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is broken ({' '.join(str(error).split())}); run the job again") from error
    if not found:
        raise DataError(f"{path} holds no scores; the strategy deploys nothing while it trains")
    return found
