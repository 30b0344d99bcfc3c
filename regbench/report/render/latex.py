"""A board as LaTeX, for a paper."""

from __future__ import annotations

from collections.abc import Sequence

from regbench.errors import unknown_name
from regbench.report.board import Board
from regbench.report.columns import Column, columns_of, confidence_table, seed_table
from regbench.report.ranking import Ranking, ranked_sections
from regbench.report.render import tables
from regbench.report.render.tables import latex_comment
from regbench.report.statements import missing_controls, reported, third_party, title
from regbench.report.table import Table

IN_PAPERS = ("method", "supervision", "MACE", "AUC@3", "AUC@5", "AUC@10", "× identity")
"""The columns of a table in a paper; a reader finds the others in the CSV."""
RANKED = ("MACE", "× identity")
"""The columns whose cells are bold in the rows of rank 1: ranks are of MACE."""


def to_latex(board: Board, columns: Sequence[str] = IN_PAPERS) -> str:
    """A booktabs table for each section, with comments that name the test pairs and what is missing.

    MACE of the rows of rank 1, which no other row is significantly better than, is bold.

    Args:
        board: the board.
        columns: heads of columns, ``method`` for the three names in one, in the order of the table.

    Raises:
        UsageError: a section has no such column.
    """
    parts = []
    for section, ranking in ranked_sections(board):
        parts.append(latex_comment(f"{board.name}: {title(section)}, manifest {section.manifest}"))
        parts += [latex_comment(f"lacks {name}") for name in missing_controls(ranking, board.settings.controls)]
        parts.append(_main(ranking, columns))
        if seeds := seed_table(ranking):
            parts += ["% over seeds", tables.latex(seeds)]
        if others := third_party(ranking):
            parts.append(latex_comment(others))
        if found := confidence_table(ranking):
            parts += ["% failures found by confidence", tables.latex(found)]
        if printed := reported(board.papers, section.dataset, ranking):
            parts += ["% reported in papers, not ranked with the above", tables.latex(printed.table)]
    return "\n".join(parts) + "\n"


def _main(ranking: Ranking, heads: Sequence[str]) -> str:
    known = {column.head: column for column in columns_of(ranking)}
    known["method"] = Column("method", lambda ranked: str(ranked.names))
    for head in heads:
        if head not in known:
            raise unknown_name("column", head, known)
    columns = [known[head] for head in heads]
    rows = [[column.cell(ranked) for column in columns] for ranked in ranking.rows]
    first = [n for n, ranked in enumerate(ranking.rows) if ranked.rank == 1]
    bold = [(n, heads.index(head)) for n in first for head in RANKED if head in heads]
    return tables.latex(Table(list(heads), [column.value is None for column in columns], rows), bold)
