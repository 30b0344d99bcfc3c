"""From the name of a data set to its pack: which file it is, and how that is made where it is not there yet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from regbench.api.dataset import Dataset
from regbench.data.pack import Pack
from regbench.data.pack_format import Progress, pack_path
from regbench.data.pack_writer import write_pack
from regbench.data.value_ranges import split_settings
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.plugins.registry import registry
from regbench.settings import build_config


def prepare(
    dataset: Dataset,
    name: str,
    version: str,
    path: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    ranges: Mapping[str, str] | None = None,
) -> Pack:
    """Read a data set once and write its pack; a killed run continues where it stopped.

    Args:
        dataset: the reader, with its settings and root.
        name: its registered name.
        version: of the distribution that provides it.
        path: the file to write; replaced when it exists, and only by a complete pack.
        workers: threads that decode; one a core when None.
        progress: called with (split, pairs done, pairs in all) after each pair.
        ranges: the settings ``range_a`` and ``range_b``, as far as they were given; see
            :mod:`regbench.data.value_ranges`.

    Raises:
        DataError: the data set cannot be read, or the disk is full.
    """
    write_pack(dataset, name, version, path, workers or _cores(), progress, ranges)
    return Pack.open(path)


def ensure(
    name: str,
    *,
    root: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    force: bool = False,
    workers: int | None = None,
) -> Pack:
    """The pack of a registered data set, prepared if it is not there yet.

    Without ``root``, a pack prepared earlier with the same settings is used, wherever its images were.

    Args:
        name: registered name of the data set, or the file of a pack (``*.h5``), which is opened as it is.
        root: folder of the published layout.
        settings: the reader's settings, as given to ``--set dataset.KEY=VALUE``.
        progress: as for :func:`prepare`.
        force: prepare again even if the pack is there.
        workers: as for :func:`prepare`.

    Raises:
        UsageError: unknown data set or setting; or no ``root`` and nothing prepared.
        DataError: the data set or its pack cannot be read.
    """
    if _is_file(name):
        return _finished_pack(name, root, settings)
    dataset, path, version, ranges = _resolve(name, root, settings)
    if force or not path.is_file():
        if dataset.needs_root and root is None:
            raise UsageError(
                f"data set {name!r} is read from disk: give its folder with --root DIR "
                f"(`regbench datasets info {name}` draws it)"
            )
        with _lock_of(path):
            if force or not path.is_file():  # another process may have made it meanwhile
                return prepare(dataset, name, version, path, progress=progress, workers=workers, ranges=ranges)
    return Pack.open(path)


def find(name: str, *, root: Path | None = None, settings: Mapping[str, Any] | None = None) -> Pack:
    """The pack of a data set that was prepared earlier; takes what :func:`ensure` takes.

    Raises:
        UsageError: unknown data set or setting.
        DataError: the pack is not there, or cannot be read.
    """
    if _is_file(name):
        return _finished_pack(name, root, settings)
    path = _resolve(name, root, settings)[1]
    return Pack.open(path)


def available(name: str, *, settings: Mapping[str, Any] | None = None) -> bool:
    """Whether :func:`ensure` needs no ``root``: the images are made here, or a pack is there.

    Raises:
        UsageError: unknown data set.
    """
    if not _is_file(name) and not registry().get("dataset", name).load().needs_root:
        return True
    try:
        find(name, settings=settings)
    except RegbenchError:
        return False
    return True


def data_dir() -> Path:
    """Where packs live: ``$REGBENCH_DATA``, else ``./data``."""
    return Path(os.environ.get("REGBENCH_DATA") or "data")


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_file(name: str) -> bool:
    return name.endswith(".h5")


def _finished_pack(name: str, root: Path | None, settings: Mapping[str, Any] | None) -> Pack:
    """The pack in a file; raises UsageError for a root or settings, which would make another pack of it."""
    if root is not None or settings:
        what = "--root" if root is not None else f"--set dataset.{next(iter(settings or {}))}"
        raise UsageError(f"{name} is a finished pack: {what} has no meaning for it")
    return Pack.open(Path(name).expanduser())


def _resolve(
    name: str, root: Path | None, settings: Mapping[str, Any] | None
) -> tuple[Dataset, Path, str, dict[str, str]]:
    """A registered data set's reader, the file its pack has or will have, the reader's version and the ranges set."""
    component = registry().get("dataset", name)
    if root is not None and not root.is_dir():
        raise DataError(f"--root {root} is not a folder")
    own, ranges = split_settings(settings or {})
    config = build_config(component, own)
    values = config.model_dump(mode="json") | ranges
    path = pack_path(name, component.version, values, root, data_dir())
    if root is None and not path.is_file():
        path = _from_any_root(name, component.version, values, data_dir()) or path
    return component.load()(config, root), path, component.version, ranges


def _from_any_root(name: str, version: str, config: Mapping[str, Any], directory: Path) -> Path | None:
    """The one pack of a data set with these settings, whatever root it was made from."""
    packs = []
    for path in sorted(directory.glob(f"{name}-*.h5")):
        with suppress(DataError):  # a damaged pack beside it does not matter
            pack = Pack.open(path)
            if (pack.name, pack.version, pack.config) == (name, version, config):
                packs.append(path)
    if len(packs) > 1:
        listed = ", ".join(map(str, packs))
        raise UsageError(f"data set {name!r} was prepared from several folders ({listed}): add --root DIR")
    return packs[0] if packs else None


@contextmanager
def _lock_of(path: Path) -> Iterator[None]:
    """Let one process prepare a pack while others wait; where the system has no file locks, nobody waits."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
