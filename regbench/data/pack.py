"""The pack: one HDF5 file a prepared data set, which training and evaluation read instead of image files.

Root attributes: ``format``, ``version`` (of the format), ``dataset``, ``dataset_version``, ``config`` (JSON),
``modality_a``, ``modality_b``, ``height``, ``width``, ``aligned``, ``max_value_a``, ``max_value_b``,
``size_rule`` and ``sha256``. Groups ``train`` and ``test``, each with

* ``a``, ``b``: ``(N, H, W, C)`` uint8 or uint16; C = 1 when every image of that side is grey, else 3 (RGB).
  Sets of single images store them once, ``b`` is a link to ``a``;
* ``key``: N strings, the reader's names of the pairs;
* ``group``: N int32, the image a pair comes from (numbered in order of appearance within the split);
* ``homography``: ``(N, 3, 3)`` float64, pixels of A to pixels of B at the pack's size, NaN where a pair has
  no label; only in sets of really unaligned pairs that have labels;
* ``points``: ``(N, K, 4)`` float64, tie points ``x, y`` in A then in B, NaN beyond those a pair has; only where
  there are any.

Two root attributes are there only where they say something: ``max_patch``, the side of the central square both
images of an unaligned pair fill, and ``distortion``, how colours are distorted whenever an image is drawn.

Images lie one after the other, uncompressed: deflate saves a fifth of the space of a photograph and makes
reading ten times slower, and every run starts with reading.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import Dataset, Split
from regbench.data.pack_writer import BLOCK, FORMAT, SIDES, SPLITS, VERSION, Progress, content_hash, write_pack
from regbench.errors import DataError, RegbenchError, UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pack:
    """A prepared data set. Holds no open file: safe to share between processes and threads."""

    path: Path
    name: str
    version: str
    """Of the distribution whose reader made it."""
    config: Mapping[str, Any]
    modalities: tuple[str, str]
    size: tuple[int, int]
    """(height, width) of every image."""
    aligned: bool
    single: bool
    """A and B are the same images; ``images(split, "b")`` would only repeat ``"a"``."""
    max_values: tuple[int, int]
    """The stored value of A and B that means 1.0."""
    channels: tuple[int, int]
    counts: Mapping[Split, int]
    size_rule: str
    max_patch: int | None
    """Side of the central square both images of an unaligned pair fill, px; None: all of it."""
    distortion: str
    """``none``, or how colours are distorted whenever an image is drawn."""
    sha256: str
    """Of the content alone (images, keys, groups, labels, and what they mean), whatever the file's layout."""

    @classmethod
    def open(cls, path: Path) -> Pack:
        """Open a pack and check that it is one; images are not read.

        Raises:
            DataError: missing, truncated, not a pack, or of another version; says what to do.
        """
        again = f"make it again with `regbench datasets prepare {_name_of(path)}`"
        try:
            with _reading(path) as file:
                head = dict(file.attrs)
                if head.get("format") != FORMAT:
                    raise DataError(f"{path} is an HDF5 file but not a regbench pack; {again}")
                if (found := head.get("version")) != VERSION:
                    raise DataError(f"{path} is a pack of version {found}, not {VERSION}; {again}")
                return cls(
                    path=path,
                    name=str(head["dataset"]),
                    version=str(head["dataset_version"]),
                    config=json.loads(head["config"]),
                    modalities=(str(head["modality_a"]), str(head["modality_b"])),
                    size=(int(head["height"]), int(head["width"])),
                    aligned=bool(head["aligned"]),
                    single=file["train/a"] == file["train/b"],
                    max_values=(int(head["max_value_a"]), int(head["max_value_b"])),
                    channels=(file["train/a"].shape[3], file["train/b"].shape[3]),
                    counts={split: len(file[split]["key"]) for split in SPLITS},
                    size_rule=str(head["size_rule"]),
                    max_patch=int(head["max_patch"]) if "max_patch" in head else None,
                    distortion=str(head.get("distortion", "none")),
                    sha256=str(head["sha256"]),
                )
        except (KeyError, ValueError) as error:
            raise DataError(f"{path} is an incomplete pack ({error}); {again}") from None

    def images(self, split: Split, side: Literal["a", "b"], device: torch.device | str = "cpu") -> torch.Tensor:
        """All images of one side, ``(N, C, H, W)`` on ``device``, in memory pixel by pixel as the file has them.

        uint8 as stored (255 means 1.0); 16-bit sides, and those whose ``max_values`` is not 255, come as
        float32 in [0, 1].
        """
        import torch

        top = self.max_values[SIDES.index(side)]
        with _reading(self.path) as file:
            array = file[split][side]
            n, h, w, c = array.shape
            kind = torch.uint8 if stays_as_stored(array.dtype, top) else torch.float32
            out = torch.empty((n, h, w, c), dtype=kind, device=device)
            for start in range(0, n, BLOCK):
                block = as_held(array[start : start + BLOCK], top)
                out[start : start + len(block)] = torch.from_numpy(block).to(device)
        return out.permute(0, 3, 1, 2)

    def keys(self, split: Split) -> list[str]:
        """The names of the pairs, in the order of the images."""
        with _reading(self.path) as file:
            return [str(key) for key in file[split]["key"].asstr()[...]]

    def groups(self, split: Split) -> NDArray[np.int32]:
        """The image each pair comes from, ``(N,)``; confidence intervals resample these."""
        with _reading(self.path) as file:
            return np.asarray(file[split]["group"][...], dtype=np.int32)

    def homographies(self, split: Split) -> NDArray[np.float64] | None:
        """Labels ``(N, 3, 3)``, pixels of A to pixels of B, NaN where a pair has none; None without any."""
        with _reading(self.path) as file:
            return np.asarray(file[split]["homography"][...]) if "homography" in file[split] else None

    def points(self, split: Split) -> NDArray[np.float64] | None:
        """Tie points ``(N, K, 4)``, ``x, y`` in A then in B, NaN beyond those a pair has; None without any."""
        with _reading(self.path) as file:
            return np.asarray(file[split]["points"][...]) if "points" in file[split] else None

    def verify(self) -> None:
        """Hash the content again; raises DataError when it is not what was prepared."""
        with _reading(self.path) as file:
            found = content_hash(file)
        if found != self.sha256:
            raise DataError(
                f"{self.path} is damaged: its content hashes to {found[:12]}, not {self.sha256[:12]}; "
                f"make it again with `regbench datasets prepare {self.name} --force`"
            )


def stays_as_stored(dtype: np.dtype[np.generic], top: int) -> bool:
    """Whether images of this type, where ``top`` means 1.0, are held as they are stored: plain 8 bit."""
    return bool(dtype == np.uint8) and top == 255


def as_held(images: NDArray[np.generic], top: int) -> NDArray[np.generic]:
    """Stored images as batches need them: plain 8 bit as stored, others float32 in [0, 1]."""
    if stays_as_stored(images.dtype, top):
        return images
    return np.minimum(images.astype(np.float32) / top, 1.0)


def prepare(
    dataset: Dataset,
    name: str,
    version: str,
    path: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Pack:
    """Read a data set once and write its pack; a killed run continues where it stopped.

    Args:
        dataset: the reader, with its settings and root.
        name: its registered name.
        version: of the distribution that provides it.
        path: the file to write; replaced when it exists, and only by a complete pack.
        workers: threads that decode; one a core when None.
        progress: called with (split, pairs done, pairs in all) after each pair.

    Raises:
        DataError: the data set cannot be read, or the disk is full.
    """
    write_pack(dataset, name, version, path, workers or _cores(), progress)
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
        return _opened(name, root, settings)
    dataset, path, version = _resolve(name, root, settings)
    if force or not path.is_file():
        if dataset.needs_root and root is None:
            raise UsageError(
                f"data set {name!r} is read from disk: give its folder with --root DIR "
                f"(`regbench datasets info {name}` draws it)"
            )
        with _one_at_a_time(path):
            if force or not path.is_file():  # another process may have made it meanwhile
                return prepare(dataset, name, version, path, progress=progress, workers=workers)
    return Pack.open(path)


def find(name: str, *, root: Path | None = None, settings: Mapping[str, Any] | None = None) -> Pack:
    """As :func:`ensure`, but never prepares; raises DataError when the pack is not there."""
    if _is_file(name):
        return _opened(name, root, settings)
    _, path, _ = _resolve(name, root, settings)
    return Pack.open(path)


def available(name: str, *, settings: Mapping[str, Any] | None = None) -> bool:
    """Whether :func:`ensure` needs no ``root``: the images are made here, or a pack is there.

    Raises:
        UsageError: unknown data set.
    """
    from regbench.plugins.registry import registry

    if not _is_file(name) and not registry().get("dataset", name).load().needs_root:
        return True
    try:
        find(name, settings=settings)
    except RegbenchError:
        return False
    return True


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_file(name: str) -> bool:
    return name.endswith(".h5")


def _opened(name: str, root: Path | None, settings: Mapping[str, Any] | None) -> Pack:
    """A pack named by its file; raises UsageError where something was asked of it that a finished pack cannot give."""
    if root is not None or settings:
        what = "--root" if root is not None else f"--set dataset.{next(iter(settings or {}))}"
        raise UsageError(f"{name} is a finished pack: {what} has no meaning for it")
    return Pack.open(Path(name).expanduser())


def data_dir() -> Path:
    """Where packs live: ``$REGBENCH_DATA``, else ``./data``."""
    return Path(os.environ.get("REGBENCH_DATA") or "data")


def pack_path(name: str, version: str, config: Mapping[str, Any], root: Path | None, directory: Path) -> Path:
    """The file of a data set, ``<directory>/<name>-<10 hex>.h5``: settings and roots have their own."""
    origin = [VERSION, name, version, dict(config), str(root.resolve()) if root else None]
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    return directory / f"{name}-{digest[:10]}.h5"


def _resolve(name: str, root: Path | None, settings: Mapping[str, Any] | None) -> tuple[Dataset, Path, str]:
    """The reader of a registered data set, the file of its pack, there or not, and the reader's version."""
    from regbench.plugins.registry import registry
    from regbench.settings import build_config

    component = registry().get("dataset", name)
    if root is not None and not root.is_dir():
        raise DataError(f"--root {root} is not a folder")
    config = build_config(component, settings or {})
    plain = config.model_dump(mode="json")
    path = pack_path(name, component.version, plain, root, data_dir())
    if root is None and not path.is_file():
        path = _from_any_root(name, component.version, plain, data_dir()) or path
    return component.load()(config, root), path, component.version


def _from_any_root(name: str, version: str, config: Mapping[str, Any], directory: Path) -> Path | None:
    """The one pack of a data set with these settings, whatever root it was made from."""
    found = []
    for path in sorted(directory.glob(f"{name}-*.h5")):
        with suppress(DataError):  # a damaged neighbour is not what was asked for
            pack = Pack.open(path)
            if (pack.name, pack.version, pack.config) == (name, version, config):
                found.append(path)
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise UsageError(f"data set {name!r} was prepared from several folders ({listed}): add --root DIR")
    return found[0] if found else None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process prepare a pack while others wait; where the system has no file locks, all go ahead."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _name_of(path: Path) -> str:
    """The data set a pack's file name speaks of, for error messages."""
    match = re.fullmatch(r"(.+)-[0-9a-f]{10}", path.stem)
    return match[1] if match else "NAME"


def _reading(path: Path) -> Any:
    """Open an HDF5 file for reading; raises DataError with what to do."""
    import h5py

    again = f"make it with `regbench datasets prepare {_name_of(path)}`"
    if not path.is_file():
        raise DataError(f"there is no pack at {path}; {again}")
    try:
        # Some network file systems refuse locks; a finished pack is never written to, so none is needed.
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        reason = "is truncated" if "truncated" in str(error) else "is not a pack, or damaged"
        raise DataError(f"{path} {reason}; {again}") from None
