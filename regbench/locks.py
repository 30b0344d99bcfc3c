"""Locks between processes, on file systems that have them."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
_CANNOT_BE_WRITTEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_warned: set[Path] = set()


class HeldError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    Where the file system has no locks the block runs all the same, after a warning on stderr. In a folder that this
    process cannot write to it runs without a warning: there is nothing that a rival could spoil.

    Args:
        path: the lock's own file; its folder exists.
        wait: wait for a process that holds it, instead of raising.

    Raises:
        HeldError: another process holds it, and ``wait`` is not set.
        OSError: the file cannot be made for another reason, such as a full disk, or it is a link.
    """
    try:
        # Neither followed, where the path is a link that a stranger's folder brought, nor emptied.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666), "r+b")
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN:
            raise
        yield
        return
    with file:
        if fcntl is None:
            _warn(path.parent, "this system has none")
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if not wait and error.errno in _HELD:
                    raise HeldError(str(path)) from None
                _warn(path.parent, os.strerror(error.errno) if error.errno else str(error))
        yield


def _warn(folder: Path, reason: str) -> None:
    if folder not in _warned:
        _warned.add(folder)
        sys.stderr.write(f"regbench: no file locks in {folder} ({reason}); let one process at a time work there\n")
