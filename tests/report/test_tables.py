"""Names and texts of others are data: no table, spreadsheet or LaTeX file runs them."""

from __future__ import annotations

import csv
import io

import pytest

from regbench.report.render.tables import comma_separated, escape, latex, latex_comment
from regbench.report.table import Table, number


def test_text_of_others_cannot_break_a_table():
    assert escape("a|b\n<script>*x*") == r"a\|b \<script\>\*x\*"
    assert number(-0.001) == "0.00"
    assert number(None) == "–"


def test_a_spreadsheet_runs_no_cell():
    rows = [["=cmd|'/C calc'!A0", "+1", "-1", "@x", "\t=1", "a=b", -1.5, 7, None, "x\x1b[2Jy\nz"]]
    (line,) = list(csv.reader(io.StringIO(comma_separated(["c"] * 10, rows))))[1:]
    assert line == ["'=cmd|'/C calc'!A0", "'+1", "'-1", "'@x", "'=1", "a=b", "-1.5", "7", "", "x\\x1b[2Jy z"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b", "\x0c"])
def test_no_text_ends_a_comment_of_latex(end):
    text = latex_comment(f"data{end}\\input{{/etc/passwd}}")
    assert len(text.splitlines()) == 1
    assert text.startswith("% data")


def test_bold_cells_of_latex_are_escaped_all_the_same():
    table = Table(["method", "MACE"], [True, False], [["a_b \ue000", "1 % [0, 2]"], ["c", "2"]])
    text = latex(table, bold=[(0, 1)])
    assert r"a\_b" in text
    assert r"\textbf{1 \% [0, 2]} \\" in text
    assert text.count("textbf") == 1
    assert "\ue000" not in text
