"""Which files a pack was made of: noted while they are read, remembered in the pack, compared when it is used again.

Everything that decodes an image or parses a list calls :func:`note_read` (:func:`regbench.data.reading.read_image`
does), so that the true list of files is known whatever a reader's layout is. A reader that opens files by other means
and notes none is taken to have read everything below its root.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, NamedTuple

from regbench.errors import DataError
from regbench.weights.used import file_sha256

_log = logging.getLogger("regbench")


class FileState(NamedTuple):
    """A file as it was read."""

    size: int
    mtime_ns: int
    sha256: str


Files = dict[str, FileState]
"""By path: relative to the root where a file lies below it, else absolute."""

_noted: ContextVar[dict[Path, FileState] | None] = ContextVar("noted", default=None)


def note_read(path: Path, content: bytes | None = None) -> None:
    """Say that a data set's file is read here and now.

    Args:
        path: the file.
        content: its bytes where they are at hand, which saves reading it once more.

    Raises:
        DataError: the file cannot be read.
    """
    if (noted := _noted.get()) is not None:
        noted[path] = _state(path, content)


@contextmanager
def noting() -> Iterator[dict[Path, FileState]]:
    """Collect the files that are noted while this is entered, in this thread."""
    noted: dict[Path, FileState] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def add_files(files: Files, noted: Mapping[Path, FileState], root: Path | None) -> Files:
    """Add noted files to ``files`` and return those that are new there.

    Raises:
        DataError: a file was read twice and changed in between.
    """
    new: Files = {}
    for path, state in noted.items():
        name = _name(path, root)
        if name not in files:
            files[name] = new[name] = state
        elif files[name] != state:
            raise DataError(f"{path} changed while the data set was read; run the same command again")
    return new


def below(root: Path) -> Iterator[Path]:
    """Every file below a folder that is not hidden, in a stable order; links are followed, none twice."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def states_of(paths: Iterable[Path]) -> dict[Path, FileState]:
    """Files as they are now, their content hashed."""
    return {path: _state(path, None) for path in paths}


def tree_digest(root: Path) -> str:
    """Hash of the names, sizes and times of everything below a folder."""
    return times_digest((_name(path, root) for path in below(root)), root)


def times_digest(names: Iterable[str], root: Path | None) -> str:
    """Hash of the names, sizes and times of files as they are now; a missing one counts as such."""
    digest = hashlib.sha256()
    for name in names:
        try:
            stat = _path(name, root).stat()
            entry = [name, stat.st_size, stat.st_mtime_ns]
        except OSError:
            entry = [name, None, None]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def recorded_digest(files: Files) -> str:
    """What :func:`times_digest` gives while nothing has changed since the files were read."""
    digest = hashlib.sha256()
    for name, state in files.items():
        digest.update(json.dumps([name, state.size, state.mtime_ns]).encode())
    return digest.hexdigest()


def changes(files: Files, root: Path | None) -> list[str]:
    """What is no longer as it was read, one file each; a new time alone is no change where the content is the same."""
    found = []
    for name, state in files.items():
        path = _path(name, root)
        try:
            stat = path.stat()
            same = (stat.st_size, stat.st_mtime_ns) == (state.size, state.mtime_ns)
            if not same and (stat.st_size != state.size or file_sha256(path) != state.sha256):
                found.append(f"{path} has another content")
        except (OSError, DataError):
            found.append(f"{path} is gone")
    return found


class SourceJournal:
    """The files a growing pack was made of so far, beside its ``.partial`` file: a resume must find them as they were.

    Lines of JSON: first a hash of the root's names, sizes and times, then the files that were read.

    Args:
        partial: the growing pack.
        root: folder of the data set.
    """

    def __init__(self, partial: Path, root: Path | None) -> None:
        self._path = partial.with_name(partial.name + ".files")
        self._root = root
        self._files: Files = {}
        self._pairs = False  # whether the files of any pair are known
        self._waiting: list[str] = []

    def begin(self) -> None:
        """Start over."""
        self._files, self._pairs, self._waiting = {}, False, []
        tree = None if self._root is None else tree_digest(self._root)
        self._path.write_text(json.dumps({"tree": tree}) + "\n")

    def resume(self) -> bool:
        """Go on with an earlier journal; False, and told, where its files are not what they were."""
        try:
            first, *lines = self._path.read_text().split("\n")[:-1]  # a line that was cut off does not count
            tree = json.loads(first)["tree"]
            entries = [json.loads(line) for line in lines]
            files: Files = {name: FileState(*state) for name, state, _ in entries}
        except (OSError, ValueError, TypeError, KeyError):
            return False  # cut off, or of an earlier version
        pairs = any(of_pair for *_, of_pair in entries)
        found = changes(files, self._root)
        if not found and not pairs and self._root is not None and tree_digest(self._root) != tree:
            found = [f"{self._root} has other files"]
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            _log.warning("reading everything again, because since the last attempt %s%s", found[0], more)
            return False
        self._files, self._pairs = files, pairs
        return True

    def add(self, noted: Mapping[Path, FileState], *, of_pair: bool = True) -> None:
        """Add the files a pair, or else a list of pairs, was read from; raises DataError where one has changed."""
        self._pairs = self._pairs or (of_pair and bool(noted))
        new = add_files(self._files, noted, self._root)
        self._waiting += [json.dumps([name, list(state), of_pair]) for name, state in new.items()]

    def flush(self) -> None:
        """Bring what was added to the disk."""
        if self._waiting:
            with self._path.open("a") as file:
                file.write("\n".join(self._waiting) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._waiting.clear()

    def finish(self) -> tuple[Literal["read", "root"], Files]:
        """All files the pack was made of, and whether they are those that were read or all below the root.

        Raises:
            DataError: one has changed meanwhile.
        """
        if self._pairs or self._root is None:
            return "read", self._files
        add_files(self._files, states_of(below(self._root)), self._root)
        return "root", self._files

    def remove(self) -> None:
        """The pack is complete."""
        self._path.unlink(missing_ok=True)


def to_json(files: Files) -> bytes:
    """Files in the form a pack stores."""
    return json.dumps({name: list(state) for name, state in sorted(files.items())}).encode()


def from_json(text: bytes) -> Files:
    """The reverse of :func:`to_json`."""
    return {name: FileState(*state) for name, state in json.loads(text).items()}


def _state(path: Path, content: bytes | None) -> FileState:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    sha256 = file_sha256(path) if content is None else hashlib.sha256(content).hexdigest()
    return FileState(stat.st_size, stat.st_mtime_ns, sha256)


def _name(path: Path, root: Path | None) -> str:
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.absolute().as_posix()


def _path(name: str, root: Path | None) -> Path:
    return Path(name) if root is None else root / name  # an absolute name stays what it is
