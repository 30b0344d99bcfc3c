"""The common look of figures and pages: line styles, axes, legends."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a7d00")
"""The palette of Okabe and Ito, which colour-blind readers can tell apart, with a darker yellow for white paper."""
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3))
"""Lengths of dashes and gaps in points, for print in black and white; empty is solid."""
_LONG = 48
"""Characters of a name beside which no second one fits."""
_LINE = 0.2
"""Inches of a line of the legend."""
TRUTH, ESTIMATE = "#00b400", "#e00000"
"""Colours of quadrilaterals."""


def line_style(number: int) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes of line ``number``; 32 numbers give different styles."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def figure_with_axes(heading: str) -> tuple[Figure, Any]:
    """A figure with one pair of axes below a heading."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(heading, fontsize=9)
    return figure, axes


def label(name: str) -> str:
    """A name as the label of a line: matplotlib keeps labels that begin with an underscore out of legends."""
    return f"\u200b{name}" if name.startswith("_") else name


def add_legend(figure: Figure) -> None:
    """Add the legend below the axes, where it hides no line; long names stand in one column, with room made."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = 1 if max(map(len, labels), default=0) > _LONG else 2
    width, height = figure.get_size_inches()
    if columns == 1:
        figure.set_size_inches(width, height + _LINE * (len(labels) // 2))
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=columns)
