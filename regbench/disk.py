"""Files that are whole at any moment: written beside their place, then put there; what a killed write left is removed.

A file gets the permissions that the umask gives, whoever wrote its content.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_LEFTOVER = re.compile(
    r"\.tmp\w{6,}"  # safetensors, while it writes
    r"|\..+\.[0-9a-f]{8}\.partial"  # replaced()
    r"|\.(?:result|config|cell)\.json\.[a-z0-9_]{8}|\..+\.(?:h5|md|json|png)\.[a-z0-9_]{8}"  # of an earlier regbench
    r"|[^.].*\.safetensors\.partial"
)
_WORDS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EROFS: "the disk cannot be written to; choose another folder",
    errno.EACCES: "permission denied; choose another folder, or ask its owner",
    errno.EPERM: "not permitted; choose another folder, or ask its owner",
    errno.EIO: "the disk does not answer as it should; choose another one",
    errno.EISDIR: "is a folder where a file belongs; remove it",
    errno.ENAMETOOLONG: "the name is too long for this disk",
    errno.EMFILE: "too many files are open; raise `ulimit -n`",
}


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Replace a file atomically: a reader sees the old content or the new one, also after a crash.

    Yields the name of a file beside it, to be written in the block; it takes the place of ``path`` when the block ends,
    and is removed when it raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(partial, 0o666 & ~_umask())  # safetensors makes private files
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writes left in a folder; call it under the folder's lock, when nobody else writes there."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file; half a line that an earlier write left at its end is cut off first.

    Raises:
        OSError: the disk is full or the file cannot be written; what was appended of the line is cut off again.
    """
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if (end := _end_of_last_line(file, size)) < size:
            file.truncate(end)
        content = line.encode() + b"\n"
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def in_words(error: OSError) -> str:
    """An error of the system in one line: the file, what is wrong, and what to do."""
    words = why(error)
    return f"{error.filename}: {words}" if error.filename else words


def why(error: Exception) -> str:
    """What is wrong and what to do, without the file; libraries tell the system's number in their text."""
    told = re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error))
    number = getattr(error, "errno", None) or (int(told[1] or told[2]) if told else 0)
    return _WORDS.get(number) or getattr(error, "strerror", None) or str(error) or type(error).__name__


def _end_of_last_line(file: IO[bytes], size: int) -> int:
    """Where the last whole line of a file of ``size`` bytes ends."""
    end, block = size, 1
    while end:
        start = max(0, end - block)
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end, block = start, 65536
    return 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
