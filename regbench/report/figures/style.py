"""What lines look like, on pages and in figures: colours that colour-blind readers tell apart, and dashes for print."""

from __future__ import annotations

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a7d00")
"""Okabe and Ito's, with a darker yellow that is seen on white."""
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3))
TRUTH, FOUND = "#00b400", "#e00000"
"""Quadrilaterals: the truth is green, an estimate red."""


def line_style(number: int) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes (lengths in points; empty is solid) of a line; 32 differ."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
