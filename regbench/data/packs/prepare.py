"""From the name of a data set to its pack: which file it is, and how that is made where it is not there yet."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regbench.api.dataset import Dataset
from regbench.contained import refuse_link
from regbench.data.packs.format import SPLITS, Progress, pack_path
from regbench.data.packs.memo import remember, remembered
from regbench.data.packs.pack import Pack, read_head
from regbench.data.packs.sources import below, changes, recorded_digest, times_digest
from regbench.data.packs.writer import numbered_groups, write_pack
from regbench.data.value_ranges import split_settings
from regbench.errors import DataError, PluginError, RegbenchError, UsageError
from regbench.locks import locked
from regbench.plugins.registry import registry
from regbench.settings import build_config

_log = logging.getLogger("regbench")


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
    remember(path, "sha256", str(read_head(path)["sha256"]))  # it was hashed while it was written
    return Pack.open(path)


def ensure(
    name: str,
    *,
    root: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    force: bool = False,
    renew: bool = False,
    workers: int | None = None,
) -> Pack:
    """The pack of a registered data set, prepared if it is not there yet.

    A pack is used only if its content is what was prepared and the files it was made of are what they were. Without
    ``root``, a pack prepared earlier with the same settings is used, wherever its images were; these are compared too
    where they are still there.

    Args:
        name: registered name of the data set, or the file of a pack (``*.h5``), which is opened as it is.
        root: folder of the published layout.
        settings: the reader's settings, as given to ``--set dataset.KEY=VALUE``.
        progress: as for :func:`prepare`.
        force: prepare again even if the pack is there.
        renew: prepare again where the pack that is there is damaged or its files have changed, instead of refusing it.
        workers: as for :func:`prepare`.

    Raises:
        UsageError: unknown data set or setting; or no ``root`` and nothing prepared.
        DataError: the data set or its pack cannot be read, the pack was edited, or its files have changed.
    """
    if _is_file(name):
        return _finished_pack(name, root, settings)
    dataset, path, version, ranges = _resolve(name, root, settings)
    if (pack := _usable(dataset, name, version, path, ranges, force, renew)) is not None:
        return pack
    if dataset.needs_root and dataset.root is None:
        raise UsageError(
            f"data set {name!r} is read from disk: give its folder with --root DIR "
            f"(`regbench datasets info {name}` draws it)"
        )
    found = _made(path)
    with _lock_of(path, name):
        # Another process may have made it while this one waited; then it is as fresh as was asked for.
        force = force and _made(path) == found
        if (pack := _usable(dataset, name, version, path, ranges, force, renew, say=True)) is not None:
            return pack
        return prepare(dataset, name, version, path, progress=progress, workers=workers, ranges=ranges)


def find(name: str, *, root: Path | None = None, settings: Mapping[str, Any] | None = None) -> Pack:
    """The pack of a data set that was prepared earlier; takes what :func:`ensure` takes.

    Raises:
        UsageError: unknown data set or setting.
        DataError: the pack is not there, cannot be read, was edited, or its files have changed.
    """
    if _is_file(name):
        return _finished_pack(name, root, settings)
    dataset, path, version, ranges = _resolve(name, root, settings)
    return _current(dataset, name, version, path, ranges)


def prepared(name: str, *, root: Path | None = None, settings: Mapping[str, Any] | None = None) -> Pack | None:
    """The pack that :func:`ensure` would use without making one; None where it would make one.

    Raises:
        UsageError: unknown data set or setting.
        DataError: a pack is there that :func:`ensure` refuses.
    """
    if _is_file(name):
        return _finished_pack(name, root, settings)
    dataset, path, version, ranges = _resolve(name, root, settings)
    return _usable(dataset, name, version, path, ranges, force=False, renew=False)


def available(name: str, *, settings: Mapping[str, Any] | None = None) -> bool:
    """Whether :func:`ensure` needs no ``root``: the images are made here, or a pack is there.

    Raises:
        UsageError: unknown data set.
    """
    if not _is_file(name) and not registry().get("dataset", name).load().needs_root:
        return True
    if _is_file(name):
        return Path(name).expanduser().is_file()
    try:
        return _resolve(name, None, settings)[1].is_file()
    except RegbenchError:
        return False


def data_dir() -> Path:
    """Where packs live: ``$REGBENCH_DATA``, else ``./data``."""
    return Path(os.environ.get("REGBENCH_DATA") or "data").expanduser()


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
    if root is None and not path.is_file() and (made := _from_any_root(name, component.version, values, data_dir())):
        path, origin = made
        # Where its images are still there, they are compared; else it is used as it is.
        root = origin if origin is not None and origin.is_dir() else None
    cls = component.load()
    if not (isinstance(cls, type) and issubclass(cls, Dataset)):
        raise PluginError(f"dataset {name!r} of {component.distribution}: {component.target} is no Dataset")
    return cls(config, root), path, component.version, ranges


def _usable(
    dataset: Dataset,
    name: str,
    version: str,
    path: Path,
    ranges: Mapping[str, str],
    force: bool,
    renew: bool,
    *,
    say: bool = False,
) -> Pack | None:
    """The pack that is there, if it may be used; None where it has to be made, and ``say`` why."""
    if force or not path.is_file():
        return None
    try:
        return _current(dataset, name, version, path, ranges)
    except DataError as error:
        if not renew:
            raise
        if say:
            _log.warning("reading %s again: %s", name, str(error).partition(";")[0])
        return None


def _current(dataset: Dataset, name: str, version: str, path: Path, ranges: Mapping[str, str]) -> Pack:
    """Open a pack that is what was asked for and of files that are what they were.

    Raises:
        DataError: it is not; one line says why and what to do.
    """
    pack = Pack.open(path)
    stale = partial(_stale, dataset, ranges, pack)
    config = dataset.config.model_dump(mode="json") | dict(ranges)
    if (pack.name, pack.version, pack.config) != (name, version, config):
        raise stale(f"it holds {pack.name} {pack.version} at other settings than its file name says")
    if dataset.needs_root and dataset.root is None:
        return pack
    listed = pack.files()
    if listed is None:
        if dataset.root is None:
            return pack
        raise stale("an earlier regbench made it and kept no list of its files")
    scope, files = listed
    now = times_digest(files, dataset.root)
    if now not in (recorded_digest(files), remembered(path, "files")):
        if found := changes(files, dataset.root):
            raise stale(_first(found))
        remember(path, "files", now)  # other times, the same content: as after a copy
    if scope == "root" and dataset.root is not None:
        more = [str(file) for file in below(dataset.root) if file.relative_to(dataset.root).as_posix() not in files]
        if more:
            raise stale(_first([f"{file} is new" for file in more]))
    try:
        keys = {split: list(dataset.keys(split)) for split in SPLITS}
    except DataError as error:
        raise stale(str(error)) from error
    for split, names in keys.items():
        if names != pack.keys(split):
            raise stale(f"the {split} split has {_difference(names, pack.keys(split))}")
        if not np.array_equal(numbered_groups(dataset, split, names), pack.groups(split)):
            raise stale(f"pairs of the {split} split belong to other groups")
    return pack


def _stale(dataset: Dataset, ranges: Mapping[str, str], pack: Pack, why: str) -> DataError:
    root = [] if dataset.root is None else ["--root", str(dataset.root.resolve())]
    settings = dataset.config.model_dump(mode="json", exclude_defaults=True) | dict(ranges)
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={_text(value)}")]
    return DataError(
        f"{pack.path} no longer fits its data set and is not used: {why}; read the files again with --force, or with "
        f"`regbench datasets prepare {shlex.join([pack.name, *root, *sets])} --force`"
    )


def _text(value: Any) -> str:
    """A setting's value, as ``--set NAME=VALUE`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _first(found: Sequence[str]) -> str:
    return found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def _difference(now: Sequence[str], before: Sequence[str]) -> str:
    """What changed in the names of pairs."""
    if new := sorted(set(now) - set(before)):
        return _first([f"{name!r}, which is new" for name in new])
    if gone := sorted(set(before) - set(now)):
        return _first([f"{name!r} no longer" for name in gone])
    return "its pairs in another order"


def _from_any_root(
    name: str, version: str, config: Mapping[str, Any], directory: Path
) -> tuple[Path, Path | None] | None:
    """The one pack of a data set with these settings, whatever root it was made from, and that root."""
    packs = []
    for path in sorted(directory.glob(f"{name}-*.h5")):
        with suppress(DataError, KeyError, ValueError):  # a damaged pack beside it does not matter
            head = read_head(path)
            if (head["dataset"], head["dataset_version"], json.loads(head["config"])) == (name, version, config):
                packs.append((path, Path(head["root"]) if "root" in head else None))
    if len(packs) > 1:
        listed = ", ".join(str(path) for path, _ in packs)
        raise UsageError(f"data set {name!r} was prepared from several folders ({listed}): add --root DIR")
    return packs[0] if packs else None


def _made(path: Path) -> tuple[int, int] | None:
    """Which file lies there: inode and time; None for none."""
    with suppress(OSError):
        stat = path.stat()
        return stat.st_ino, stat.st_mtime_ns
    return None


@contextmanager
def _lock_of(path: Path, name: str) -> Iterator[None]:
    """Let one process prepare a pack while others wait; raises DataError where packs cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise DataError(
            f"packs cannot be written to {path.parent}: {error.strerror}; name another folder in REGBENCH_DATA"
        ) from error
    lock = path.parent / f".{path.name}.lock"
    refuse_link(lock)
    with locked(lock, wait=True, work=f"prepares {name}"):
        yield
