"""Tables as text: numbers rounded in one place, foreign text made harmless, rendering by tabulate."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

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


def quantity(value: object, unit: float = 1.0, digits: int = 1) -> str:
    """A free-form number of a result divided by ``unit``; a dash for anything that is no number."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return number(float(value) / unit, digits) if known else NONE  # type: ignore[arg-type]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """A pipe table; the columns from ``left`` on are right-aligned. Cells must be escaped already."""
    align = ["left"] * left + ["right"] * (len(header) - left)
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align if rows else None)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A booktabs table; special characters are escaped."""
    return tabulate(rows, header, tablefmt="latex_booktabs", disable_numparse=True)


def comma_separated(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV (RFC 4180 quoting, line ends ``\\n``)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
