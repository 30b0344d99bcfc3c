"""Which weight files a run reads: their content decides its result, so their hashes belong to its identity.

Whatever reads published weights calls :func:`note_weights`; :func:`regbench.weights.published.read_published` does, so
a plugin that reads through it need not. Where a library reads them itself, :func:`note_tensors` tells what it has read.
While a plan is made, :func:`weights_used` collects what is noted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from regbench.errors import DataError, PluginError
from regbench.weights.files import tensors_sha256

Hashes = dict[str, str]
"""SHA-256 of files by their names, without folders: a run is the same wherever its files lie."""

_collecting: list[Hashes] = []
_known: list[Collection[str]] = []


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def add_file(hashes: Hashes, path: Path) -> None:
    """Add a file's hash; two files of one name and unlike content both stay."""
    sha256 = file_sha256(path)
    if hashes.setdefault(path.name, sha256) != sha256:
        hashes[f"{path.name} {sha256[:12]}"] = sha256


def note_weights(path: Path) -> None:
    """Say that a weight file is read here and now.

    Raises:
        PluginError: the run trains already, and its identity does not know this file's content.
        DataError: the file cannot be read.
    """
    if _collecting:
        add_file(_collecting[-1], path)
    if _known and file_sha256(path) not in _known[-1]:
        raise PluginError(
            f"{path}: is read while the run trains, but the run's identity does not hold its hash; the strategy must "
            "list it in weight_files()"
        )


def note_tensors(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Say which weights a library has read by itself; their hash stands under ``name``, as that of a file would."""
    if _collecting:
        _collecting[-1][name] = tensors_sha256(tensors)


def weights_wanted() -> bool:
    """Whether a plan is being made, so that what loads its weights on first use must load them now."""
    return bool(_collecting)


@contextmanager
def weights_used() -> Iterator[Hashes]:
    """Collect the files that are noted while this is entered; the innermost of several collects."""
    hashes: Hashes = {}
    _collecting.append(hashes)
    try:
        yield hashes
    finally:
        _collecting.pop()


@contextmanager
def known_weights_only(known: Collection[str]) -> Iterator[None]:
    """Refuse, while this is entered, to read weight files whose SHA-256 is not one of ``known``."""
    _known.append(known)
    try:
        yield
    finally:
        _known.pop()
