"""Writing of figures as PDF, PNG or SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from regbench.errors import RegbenchError, UsageError

SUFFIXES = (".pdf", ".png", ".svg")


def check_suffix(path: Path) -> None:
    """Raise UsageError where the suffix of a file names no format that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a figure is written as {', '.join(SUFFIXES)}; name such a file")


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure; the same figure gives the same bytes.

    Texts are drawn as they are: a name such as ``$x^2$`` is no formula.

    Raises:
        UsageError: the suffix names no format.
        RegbenchError: the file cannot be written.
    """
    check_suffix(path)
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower(), {})
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "regbench", "text.parse_math": False}):
            figure.savefig(path, dpi=dpi, metadata=undated)
    except OSError as error:
        raise RegbenchError(f"{path} cannot be written: {error.strerror}") from error
