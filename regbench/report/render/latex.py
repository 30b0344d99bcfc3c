"""A board as LaTeX, for a paper."""

from __future__ import annotations

from regbench.report.board import Board
from regbench.report.columns import confidence_table, main_table, seed_table
from regbench.report.ranking import ranked_sections
from regbench.report.render import tables
from regbench.report.render.tables import latex_comment
from regbench.report.statements import missing_controls, reported, third_party, title


def to_latex(board: Board) -> str:
    """A booktabs table for each section, with comments that name the test pairs and what is missing."""
    parts = []
    for section, ranking in ranked_sections(board):
        parts.append(latex_comment(f"{board.name}: {title(section)}, manifest {section.manifest}"))
        parts += [latex_comment(f"lacks {name}") for name in missing_controls(ranking, board.settings.controls)]
        parts.append(tables.latex(main_table(ranking)))
        if seeds := seed_table(ranking):
            parts += ["% over seeds", tables.latex(seeds)]
        if others := third_party(ranking):
            parts.append(latex_comment(others))
        if found := confidence_table(ranking):
            parts += ["% failures found by confidence", tables.latex(found)]
        if printed := reported(board.papers, section.dataset, ranking):
            parts += ["% reported in papers, not ranked with the above", tables.latex(printed.table)]
    return "\n".join(parts) + "\n"
