"""Test pairs drawn with matplotlib: green truth, red estimate, and the source laid on the target in a checkerboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from regbench.report.figures.overlay import Scene
from regbench.report.figures.style import FOUND, TRUTH


def draw_pairs(rows: Sequence[tuple[str, Sequence[Scene]]], columns: Sequence[str]) -> Figure:
    """A row a test pair: for each method its quadrilaterals on the target, then its checkerboard.

    Args:
        rows: a label, and the pair as each method sees it.
        columns: names of the methods.
    """
    wide = 2 * len(columns)
    figure = Figure(figsize=(2.1 * wide, 2.3 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), wide, squeeze=False)
    for line, (label, scenes) in zip(axes, rows, strict=True):
        for number, scene in enumerate(scenes):
            plain, board = line[2 * number], line[2 * number + 1]
            _show(plain, scene.target, scene)
            _show(board, scene.laid, scene)
            answer = f"{scene.error:.2f} px" if scene.found is not None else "no answer"
            plain.set_title(f"{answer} (identity {scene.identity:.2f})", fontsize=7)
        line[0].set_ylabel(label, fontsize=8)
    for number, name in enumerate(columns):
        axes[-1, 2 * number].set_xlabel(name, fontsize=8)
    return figure


def _show(axes: Any, picture: Any, scene: Scene) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.add_patch(Polygon(scene.truth, fill=False, edgecolor=TRUTH, linewidth=1.2))
    if scene.found is not None:
        axes.add_patch(Polygon(scene.found, fill=False, edgecolor=FOUND, linewidth=1.2))
    side = picture.shape[0]
    axes.set(xticks=[], yticks=[], xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
