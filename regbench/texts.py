"""Texts of unknown origin, made fit for a terminal and for the name of a folder."""

from __future__ import annotations

import re

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # direction of writing, line and paragraph separators
    "\ud800-\udfff]"  # bytes of a file name that are no UTF-8
)


def printable(text: str) -> str:
    r"""The text with every character that would control a terminal written as ``\x1b``; tabs and line feeds stay."""
    return _CONTROLS.sub(lambda match: _escaped(match[0]), text)


def one_line(text: str) -> str:
    """The text as one printable line."""
    return printable(" ".join(text.split()))


def is_folder_name(name: str) -> bool:
    """Whether a text is one plain folder name on every system: not hidden, without separators or control characters."""
    return bool(
        name
        and name == name.strip()
        and not name.startswith(".")
        and not name.endswith(".")
        and len(name.encode(errors="replace")) <= 200
        and not re.search(r"[/\\:]", name)
        and "\n" not in name
        and "\t" not in name
        and printable(name) == name
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds such a byte
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
