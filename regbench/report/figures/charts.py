"""Charts of scores: AUCs as bars or radar, error against training time, and the zero-shot transfer matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from regbench.errors import UsageError
from regbench.report.board import BoardRow, Section
from regbench.report.figures.style import COLOURS, add_legend, figure_with_axes, label, line_style
from regbench.report.ranking import rank_rows
from regbench.report.statements import title

AUCS = ("auc@3", "auc@5", "auc@10", "auc@20")


def auc_bars(section: Section, rows: Sequence[BoardRow]) -> Figure:
    """AUC@3/5/10/20 as bars with 95 % intervals over test images."""
    finished = rank_rows(rows).finished
    figure, axes = figure_with_axes(title(section))
    width = 0.8 / len(finished)
    for number, ranked in enumerate(finished):
        values = np.array([ranked.values[m] for m in AUCS])
        bounds = np.array([ranked.intervals[m] or (v, v) for m, v in zip(AUCS, values, strict=True)])
        extents = np.maximum(0.0, np.stack([values - bounds[:, 0], bounds[:, 1] - values]))
        positions = np.arange(len(AUCS)) + (number - (len(finished) - 1) / 2) * width
        style = {"color": line_style(number)[0], "label": label(str(ranked.names)), "capsize": 2}
        axes.bar(positions, values, width, yerr=extents, error_kw={"elinewidth": 0.8}, **style)
    axes.set_xticks(range(len(AUCS)), [m.upper() for m in AUCS])
    axes.set(ylabel="%, with 95 % intervals over test images", ylim=(0, 100))
    add_legend(figure)
    return figure


def error_against_time(section: Section, rows: Sequence[BoardRow]) -> Figure:
    """MACE over identity's against minutes of training, with 95 % intervals over test images.

    Minutes are the mean over seeds. What needs no training stands at zero; identity is
    the line at 1.
    """
    figure, axes = figure_with_axes(title(section))
    axes.axhline(1.0, color="0.5", linewidth=0.8, zorder=0)
    drawn = [ranked for ranked in rank_rows(rows).finished if ranked.row.identity.component_names != ["identity"]]
    for number, ranked in enumerate(drawn):
        low, high = ranked.ratio_interval or (ranked.ratio, ranked.ratio)
        axes.errorbar(
            (ranked.row.mean_over_runs("training", "seconds") or 0.0) / 60,
            ranked.ratio,
            [[max(0.0, ranked.ratio - low)], [max(0.0, high - ranked.ratio)]],
            color=line_style(number)[0],
            marker="osD^v"[number // len(COLOURS) % 5],
            capsize=2,
            label=label(str(ranked.names)),
        )
    axes.set(xlabel="minutes of training", ylabel="MACE, × identity", ylim=(0, None))
    add_legend(figure)
    return figure


def auc_radar(sections: Mapping[Section, Sequence[BoardRow]]) -> Figure:
    """AUCs on axes from a centre: AUC@3/5/10/20 of one section, or AUC@10 of each of several.

    Rows of several sections are one line where their names are equal.

    Raises:
        UsageError: there are fewer than three axes.
    """
    lines: dict[str, dict[str, float]] = {}
    for section, rows in sections.items():
        for ranked in rank_rows(rows).finished:
            if len(sections) > 1:
                values = {f"{section.dataset}\nAUC@10": ranked.values["auc@10"]}
            else:
                values = {metric.upper(): ranked.values[metric] for metric in AUCS}
            lines.setdefault(str(ranked.names), {}).update(values)
    spokes = list(dict.fromkeys(spoke for line in lines.values() for spoke in line))
    if len(spokes) < 3:
        raise UsageError("a radar needs three axes: name runs on one set of test pairs, or on three or more")
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    for number, (name, line) in enumerate(lines.items()):
        radii = [line.get(spoke, np.nan) for spoke in spokes]
        colour, dashes = line_style(number)
        (drawn,) = axes.plot(
            [*angles, angles[0]], [*radii, radii[0]], color=colour, marker="o", markersize=3, label=label(name)
        )
        drawn.set_dashes(dashes)
    axes.set_xticks(angles, spokes)
    axes.set_ylim(0, 100)
    axes.tick_params(axis="x", pad=14)
    add_legend(figure)
    return figure


def transfer_matrix(sections: Mapping[Section, Sequence[BoardRow]]) -> Figure:
    """The zero-shot matrix of one method: MACE over identity's MACE, trained on (down) x tested on (across).

    Raises:
        UsageError: the runs are of several methods, or two of them belong to one cell.
    """
    cells: dict[tuple[str, str], tuple[float, float]] = {}  # ratio and MACE by training and test data set
    methods = set()
    for section, rows in sections.items():
        for ranked in rank_rows(rows).finished:
            identity = ranked.row.identity
            methods.add(" × ".join(identity.component_names))
            trained = identity.train_dataset.name if identity.train_dataset else "nothing"
            if (trained, section.dataset) in cells:
                raise UsageError(
                    f"two rows were trained on {trained} and tested on {section.dataset}; name the runs of one method, "
                    "under one protocol"
                )
            cells[trained, section.dataset] = (ranked.ratio, ranked.values["mace"])
    if len(methods) > 1:
        raise UsageError(f"a matrix is of one method, these are {', '.join(sorted(methods))}; name the runs of one")
    down, across = (sorted({cell[k] for cell in cells}) for k in (0, 1))
    ratios = np.full((len(down), len(across)), np.nan)
    for (trained, tested), (ratio, _) in cells.items():
        ratios[down.index(trained), across.index(tested)] = ratio
    figure = Figure(figsize=(2.2 + 1.3 * len(across), 1.6 + 0.8 * len(down)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(ratios, cmap="viridis_r", vmin=0, vmax=1.2, aspect="auto")
    for (trained, tested), (ratio, mace) in cells.items():
        axes.text(
            across.index(tested),
            down.index(trained),
            f"{ratio:.2f}\n{mace:.2f} px",
            ha="center",
            va="center",
            color="w" if ratio > 0.6 else "k",  # white on dark
            fontsize=9,
        )
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.set(xlabel="tested on", ylabel="trained on", title=methods.pop())
    figure.colorbar(image, label="MACE, × identity")
    return figure
