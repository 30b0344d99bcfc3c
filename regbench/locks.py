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
# Neither followed, where the path is a link that a stranger's folder brought, nor emptied.
_MADE = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_warned: set[Path] = set()


class HeldError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool, work: str = "") -> Iterator[None]:
    """Hold the lock of a file while the block runs.

    Where the file system has no locks the block runs all the same, after a warning on stderr. In a folder that this
    process cannot write to it runs without a warning: there is nothing that a rival could spoil.

    Args:
        path: the lock's own file, whose folder exists; or a folder, which is locked itself.
        wait: wait for a process that holds it, instead of raising; a line on stderr says so.
        work: what that process does, for the line, such as ``prepares synthetic``.

    Raises:
        HeldError: another process holds it, and ``wait`` is not set.
        OSError: the file cannot be made for another reason, such as a full disk, or it is a link.
    """
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else _MADE, 0o666)
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN:
            raise
        yield
        return
    try:
        if fcntl is None:
            _warn(path.parent, "this system has none")
        else:
            try:
                _lock(handle, path, wait, work)
            except OSError as error:
                _warn(path.parent, os.strerror(error.errno) if error.errno else str(error))
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path, wait: bool, work: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        if not wait:
            raise HeldError(str(path)) from None
        sys.stderr.write(f"regbench: waiting for another process that {work or 'works there'} (it holds {path})\n")
        sys.stderr.flush()
        fcntl.flock(handle, fcntl.LOCK_EX)


def _warn(folder: Path, reason: str) -> None:
    if folder not in _warned:
        _warned.add(folder)
        sys.stderr.write(f"regbench: no file locks in {folder} ({reason}); let one process at a time work there\n")
