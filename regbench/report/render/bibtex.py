"""What to cite for a board, as BibTeX: regbench, and the paper of each component as its plugin names it."""

from __future__ import annotations

import re

from regbench.plugins.registry import registry
from regbench.report.board import Board
from regbench.texts import one_line


def to_bibtex(board: Board) -> str:
    """An entry for regbench, then one for each component of the board that is installed and names its source.

    Plugins name a source in words, so entries are of the kind ``misc`` with these words as their note.
    """
    entries = ["@software{regbench,\n  title = {regbench},\n  author = {{The regbench authors}}\n}"]
    told: dict[str, str] = {}
    for rows in board.sections.values():
        for row in rows:
            for role, part in row.identity.components.items():
                component = registry().find(role, part.name)
                if component is not None and component.paper:
                    told[f"{role}-{component.name}"] = component.paper
    for key, paper in sorted(told.items()):
        name = re.sub(r"[^\w:.-]", "-", key)
        entries.append(f"@misc{{{name},\n  title = {{{_protected(key)}}},\n  note = {{{_protected(paper)}}}\n}}")
    return "\n\n".join(entries) + "\n"


def _protected(text: str) -> str:
    """A text on one line, without what BibTeX or LaTeX would interpret."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[{}\\]", "", one_line(text)))
