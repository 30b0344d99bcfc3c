"""What was checked of a pack, remembered beside it, so that an evaluation need not hash gigabytes again.

A hidden file ``.<pack>.checked.json`` holds what was found, and size, times and place of the pack it was found of. It
is believed only while all of these are the same; a pack that was edited, replaced or copied is hashed again.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from regbench.results.store import write_text

SMALL = 32 * 2**20
"""Packs of fewer bytes are hashed at each use, in less time than a person can tell."""
_SETTLED = 50_000_000  # ns; a change within a tick of the file system's clock would leave the time as it was


def remembered(path: Path, what: str) -> str | None:
    """``sha256`` (of the content) or ``files`` (digest of the files it was made of), if this very pack was checked."""
    try:
        memo = json.loads(_memo(path).read_text(encoding="utf-8"))
        found = memo[what] if memo["pack"] == _state(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def remember(path: Path, what: str, value: str) -> None:
    """Remember a check of a pack; does nothing where the folder cannot be written."""
    with suppress(OSError):
        if what == "sha256" and path.stat().st_size < SMALL:
            return
        time.sleep(max(0, min(_SETTLED, path.stat().st_ctime_ns + _SETTLED - time.time_ns())) / 1e9)
        kept = {name: found for name in ("sha256", "files") if (found := remembered(path, name)) is not None}
        write_text(_memo(path), json.dumps({"pack": _state(path), **kept, what: value}) + "\n")


def _memo(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked.json")


def _state(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
