"""Tables as text: numbers rounded in one place, foreign text made harmless, rendering by tabulate."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

NONE = "–"


def escape(text: object) -> str:
    """Text of unknown origin as one line of markdown that means nothing but itself, also inside a table."""
    return re.sub(r"([\\`*_\[\]<>|~#$])", r"\\\1", " ".join(str(text).split()))


def number(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals, never ``-0.00``; a dash for None."""
    if value is None:
        return NONE
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """``[low, high]``; a dash for None."""
    return NONE if bounds is None else f"[{number(bounds[0], digits)}, {number(bounds[1], digits)}]"


def with_interval(value: float | None, bounds: Sequence[float] | None, digits: int = 2) -> str:
    """``value [low, high]``, or the value alone where there is no interval."""
    return number(value, digits) + ("" if bounds is None else f" {interval(bounds, digits)}")


def apart(bounds: Sequence[float]) -> str:
    """An interval without zero in words, ``0.20 to 1.35``: with as many decimals as zero needs to stay out."""
    low, high = (number(value) if abs(value) >= 0.005 else f"{value:.1g}" for value in bounds)
    return f"{low} to {high}"


@dataclass(frozen=True)
class Table:
    """Cells as text, not escaped. ``words`` says which columns hold words: to the left, and of unknown origin."""

    heads: Sequence[str]
    words: Sequence[bool]
    rows: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """A pipe table; what others wrote is made harmless."""
    rows = [[escape(cell) if word else cell for cell, word in zip(row, table.words, strict=True)] for row in table.rows]
    align = ["left" if word else "right" for word in table.words]
    return tabulate(rows, table.heads, tablefmt="pipe", disable_numparse=True, colalign=align if rows else None)


def latex(table: Table) -> str:
    """A booktabs table; special characters are escaped."""
    align = ["left" if word else "right" for word in table.words] if table.rows else None
    return tabulate(table.rows, table.heads, tablefmt="latex_booktabs", disable_numparse=True, colalign=align)


def comma_separated(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV (RFC 4180 quoting, line ends ``\\n``)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
