"""Tables of text, and numbers as text: every number of a board is rounded here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DASH = "–"
"""Stands for a value that does not exist."""


@dataclass(frozen=True)
class Table:
    """Cells as text, not escaped."""

    heads: Sequence[str]
    words: Sequence[bool]
    """By column: whether it holds words, which are aligned to the left and may come from anywhere."""
    rows: Sequence[Sequence[str]]


def number(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals, never ``-0.00``; a dash for None."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """``[low, high]``; a dash for None."""
    return DASH if bounds is None else f"[{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def with_interval(value: float | None, bounds: Sequence[float] | None, digits: int = 2) -> str:
    """``value [low, high]``, or the value alone where there is no interval."""
    return number(value, digits) + ("" if bounds is None else f" {interval(bounds, digits)}")


def range_in_words(bounds: Sequence[float]) -> str:
    """An interval that does not contain zero, as ``0.20 to 1.35``. A bound that would round to zero keeps a digit."""
    low, high = (number(value) if abs(value) >= 0.005 else f"{value:.1g}" for value in bounds)
    return f"{low} to {high}"
