"""Figures of test pairs: the true place in green, the estimate in red, a checkerboard of target and warped source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from regbench.report.figures.overlay import Picture, Scene
from regbench.report.figures.style import ESTIMATE, TRUTH


def draw_pairs(rows: Sequence[tuple[str, Sequence[Scene]]], methods: Sequence[str]) -> Figure:
    """One row for each test pair; for each method the quadrilaterals on the target, then the checkerboard.

    Args:
        rows: for each pair a label, and its scenes in the order of the methods.
        methods: names of the methods.
    """
    columns = 2 * len(methods)
    figure = Figure(figsize=(2.1 * columns, 2.3 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row_axes, (label, scenes) in zip(axes, rows, strict=True):
        for number, scene in enumerate(scenes):
            target, checkerboard = row_axes[2 * number], row_axes[2 * number + 1]
            _show(target, scene.target, scene)
            _show(checkerboard, scene.checkerboard, scene)
            answer = f"{scene.error:.2f} px" if scene.estimate is not None else "no answer"
            target.set_title(f"{answer} (identity {scene.identity_error:.2f})", fontsize=7)
        row_axes[0].set_ylabel(label, fontsize=8)
    for number, name in enumerate(methods):
        axes[-1, 2 * number].set_xlabel(name, fontsize=8)
    return figure


def _show(axes: Any, picture: Picture, scene: Scene) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.add_patch(Polygon(scene.truth, fill=False, edgecolor=TRUTH, linewidth=1.2))
    if scene.estimate is not None:
        axes.add_patch(Polygon(scene.estimate, fill=False, edgecolor=ESTIMATE, linewidth=1.2))
    side = picture.shape[0]
    axes.set(xticks=[], yticks=[], xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
