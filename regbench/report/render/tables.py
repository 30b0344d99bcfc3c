"""Text forms of a table: markdown, LaTeX, CSV. Text of unknown origin is escaped."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from tabulate import tabulate

from regbench.report.table import Table


def escape(text: object) -> str:
    """Text of unknown origin on one line, with every character escaped that markdown or its tables would interpret."""
    return re.sub(r"([\\`*_\[\]<>|~#$])", r"\\\1", " ".join(str(text).split()))


def markdown(table: Table) -> str:
    """A pipe table; the columns of words are escaped."""
    rows = [[escape(cell) if word else cell for cell, word in zip(row, table.words, strict=True)] for row in table.rows]
    align = _alignment(table) if rows else None
    return tabulate(rows, table.heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def latex(table: Table) -> str:
    """A booktabs table; special characters are escaped."""
    align = _alignment(table) if table.rows else None
    return tabulate(table.rows, table.heads, tablefmt="latex_booktabs", disable_numparse=True, colalign=align)


def comma_separated(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV (RFC 4180 quoting, line ends ``\\n``)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _alignment(table: Table) -> list[str]:
    return ["left" if word else "right" for word in table.words]
