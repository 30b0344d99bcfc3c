"""Text forms of a table: markdown, LaTeX, CSV. Text of unknown origin is escaped."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence

from tabulate import tabulate

from regbench.report.table import Table
from regbench.texts import one_line


def escape(text: object) -> str:
    """Text of unknown origin on one line, with every character escaped that markdown or its tables would interpret."""
    return re.sub(r"([\\`*_\[\]<>|~#$])", r"\\\1", one_line(str(text)))


def markdown(table: Table) -> str:
    """A pipe table; the columns of words are escaped."""
    rows = [[escape(cell) if word else cell for cell, word in zip(row, table.words, strict=True)] for row in table.rows]
    align = _alignment(table) if rows else None
    return tabulate(rows, table.heads, tablefmt="pipe", disable_numparse=True, colalign=align)


_BOLD, _END = "\ue000", "\ue001"
"""Stand for LaTeX commands until every other character is escaped; no text of others keeps them."""


def latex(table: Table, bold: Collection[tuple[int, int]] = ()) -> str:
    """A booktabs table; special characters are escaped.

    Args:
        table: the table.
        bold: (row, column) of the cells in bold.
    """
    align = _alignment(table) if table.rows else None
    rows = [[re.sub(f"[{_BOLD}{_END}]", "", one_line(cell)) for cell in row] for row in table.rows]
    for i, j in bold:
        rows[i][j] = f"{_BOLD}{rows[i][j]}{_END}"
    text = tabulate(rows, table.heads, tablefmt="latex_booktabs", disable_numparse=True, colalign=align)
    return text.replace(_BOLD, r"\textbf{").replace(_END, "}")


def latex_comment(text: str) -> str:
    """A line that LaTeX ignores, whatever the text: nothing in it ends the line."""
    return f"% {one_line(text)}"


def comma_separated(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV (RFC 4180 quoting, line ends ``\\n``). A text that a spreadsheet would run as a formula begins with ``'``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue()


def _cell(value: object) -> object:
    """A value of a CSV; numbers stay."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _alignment(table: Table) -> list[str]:
    return ["left" if word else "right" for word in table.words]
