"""mkdocs: a link that leaves ``docs/`` (a recipe, a board, a source file) is shown as a path of the repository."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links to files that are no pages."""
    folder = posixpath.dirname(page.file.src_uri)

    def shown(match: re.Match[str]) -> str:
        text, target = match[1], match[2].partition("#")[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        return f"{text} (`{path.lstrip('./')}`)" if path.startswith("..") else match[0]

    return _LINK.sub(shown, markdown)
