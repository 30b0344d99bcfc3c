"""The writing side of the pack format: decode, resize, store, resume, hash.

A pack grows as ``<file>.partial`` and gets its name when it is complete. Its arrays are laid out in full
before the first image is written, so the file's structure is whole at any moment and a killed run leaves
something to resume.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import Dataset, PairImages, Split
from regbench.data.reading import resize
from regbench.errors import DataError

FORMAT, VERSION = "regbench-pack", 1
SPLITS: tuple[Split, Split] = ("train", "test")
SIDES = ("a", "b")
BLOCK = 256  # images read at a time: bounds the memory beside the result
_ARRAYS = (("group", "<i4"), ("a", None), ("b", None), ("homography", "<f8"), ("points", "<f8"))
_DISK = (OSError, RuntimeError)  # HDF5 says either when a disk fails it
_CHECKPOINT = 64  # pairs between two moments a killed run can resume from
_GREY = "grey"  # what an array is called while it is widened to three channels
_HASHED = ("modality_a", "modality_b", "height", "width", "aligned", "max_value_a", "max_value_b")
_HASHED_IF_THERE = ("max_patch", "distortion")

Keys = Mapping[Split, Sequence[str]]
Progress = Callable[[str, int, int], None]
"""Called with (split, pairs done, pairs in all)."""


def write_pack(
    dataset: Dataset, name: str, version: str, path: Path, workers: int = 2, progress: Progress | None = None
) -> None:
    """Write the pack of a data set to ``path``, resuming what an earlier call left in ``<path>.partial``.

    Raises:
        DataError: the data set cannot be read or the disk is full; the partial file stays for another try.
    """
    keys = {split: list(dataset.keys(split)) for split in SPLITS}
    if not any(keys.values()):
        raise DataError(f"data set {name!r} has no pairs")
    partial = path.with_name(path.name + ".partial")
    with _disk_errors(partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = _Writer.open(partial, dataset, _head(dataset, name, version), keys)
        try:
            for split in SPLITS:
                writer.fill(split, keys[split], workers, progress)
            writer.finish()
        except BaseException:
            with suppress(*_DISK):  # the disk may be what failed
                writer.checkpoint()
            raise
        finally:
            writer.close()
        os.replace(partial, path)


def content_hash(file: Any) -> str:
    """SHA-256 over the content of an open pack: attributes, then per split keys, groups, images, labels."""
    attributes = {name: file.attrs[name] for name in _HASHED}
    attributes |= {name: file.attrs[name] for name in _HASHED_IF_THERE if name in file.attrs}
    digest = hashlib.sha256(json.dumps(attributes, sort_keys=True, default=lambda x: x.item()).encode())
    for split in SPLITS:
        group = file[split]
        keys = [str(key) for key in group["key"].asstr()[...]]
        digest.update(json.dumps([split, keys]).encode())
        for name, kind in _ARRAYS:
            if name in group:
                array = group[name]
                stored = kind or array.dtype.newbyteorder("<").str
                digest.update(json.dumps([name, stored, array.shape]).encode())
                for start in range(0, array.shape[0], BLOCK):
                    digest.update(np.ascontiguousarray(array[start : start + BLOCK], dtype=stored).data)
    return digest.hexdigest()


def _head(dataset: Dataset, name: str, version: str) -> dict[str, Any]:
    """The root attributes known before the first image is."""
    more: dict[str, Any] = {}
    if dataset.max_patch is not None:
        more["max_patch"] = dataset.max_patch
    if dataset.distortion != "none":
        more["distortion"] = dataset.distortion
    return more | {
        "format": FORMAT,
        "version": VERSION,
        "dataset": name,
        "dataset_version": version,
        "config": json.dumps(dataset.config.model_dump(mode="json"), sort_keys=True),
        "modality_a": dataset.modalities[0],
        "modality_b": dataset.modalities[1],
        "height": dataset.size[0],
        "width": dataset.size[1],
        "aligned": dataset.aligned,
        "size_rule": dataset.card.size_rule,
    }


class _Writer:
    """The growing file."""

    def __init__(self, file: Any, dataset: Dataset) -> None:
        self._file = file
        self._dataset = dataset
        self._written: dict[Split, list[int]] = {split: [] for split in SPLITS}

    @classmethod
    def open(cls, path: Path, dataset: Dataset, head: Mapping[str, Any], keys: Keys) -> _Writer:
        """Resume a partial file of the same data set and settings, else start one."""
        import h5py

        with suppress(OSError, RuntimeError):  # absent, or killed while its structure changed: start over
            file = h5py.File(path, "r+")
            if _resumable(file, head, keys):
                return cls(file, dataset)
            file.close()
        file = h5py.File(path, "w")
        file.attrs.update(head)
        for split in SPLITS:
            n = len(keys[split])
            group = file.create_group(split)
            group.create_dataset("key", data=keys[split], dtype=h5py.string_dtype(), shape=(n,))
            names = [dataset.group(split, key) for key in keys[split]]
            number = {name: i for i, name in enumerate(dict.fromkeys(names))}
            group["group"] = np.array([number[name] for name in names], dtype=np.int32)
            group["done"] = np.zeros(n, dtype=np.uint8)
            if not dataset.aligned:
                group["homography"] = np.full((n, 3, 3), np.nan)
                group["points"] = np.full((n, 0, 4), np.nan)
        file.flush()
        return cls(file, dataset)

    def fill(self, split: Split, keys: Sequence[str], workers: int, progress: Progress | None) -> None:
        """Decode and store the pairs of a split that are not there yet."""
        todo = np.flatnonzero(self._file[split]["done"][...] == 0).tolist()
        done = len(keys) - len(todo)
        for index, pair in _decoded(self._dataset, split, keys, todo, workers):
            self._store(split, index, keys[index], pair)
            done += 1
            if progress:
                progress(split, done, len(keys))
        self.checkpoint()

    def _store(self, split: Split, index: int, key: str, pair: PairImages) -> None:
        for side, image in (("a", pair.a), ("b", pair.b)):
            if side == "b" and self._dataset.single:
                continue
            # A grey image is broadcast where the array holds colour.
            self._array(split, side, image, key)[index] = image if image.ndim == 3 else image[..., None]
        if pair.homography is not None:
            self._file[split]["homography"][index] = pair.homography
        if pair.points is not None:
            self._store_points(split, index, pair.points)
        self._written[split].append(index)
        if len(self._written[split]) >= _CHECKPOINT:
            self.checkpoint()

    def _store_points(self, split: Split, index: int, points: NDArray[np.float64]) -> None:
        """Tie points of a pair; the array holds as many as any pair has, NaN where one has fewer."""
        known = self._file[split]["points"][...]
        if len(points) > known.shape[1]:
            more = np.full((len(known), len(points) - known.shape[1], 4), np.nan)
            known = np.concatenate([known, more], axis=1)
        known[index, : len(points)] = points
        del self._file[split]["points"]
        self._file[split]["points"] = known

    def _array(self, split: Split, side: str, image: NDArray[np.generic], key: str) -> Any:
        """The array of a side: made for its first image, widened for its first image in colour."""
        channels = 1 if image.ndim == 2 else 3
        groups = [self._file[each] for each in SPLITS]
        for group in groups:
            if side not in group:
                self._allocate(group, side, channels, image.dtype)
        array = self._file[split][side]
        if array.dtype != image.dtype:
            have, want = image.dtype, array.dtype
            raise DataError(f"{split} pair {key!r}: side {side.upper()} has {have} pixels, earlier ones {want}")
        if array.shape[3] < channels:
            for group in groups:
                group.move(side, _GREY)
                self._allocate(group, side, channels, image.dtype)
                for i, grey in enumerate(group[_GREY]):
                    group[side][i] = grey
                del group[_GREY]
            self._file.flush()
        return self._file[split][side]

    def _allocate(self, group: Any, side: str, channels: int, dtype: np.dtype[np.generic]) -> None:
        import h5py

        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.CONTIGUOUS)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # now, so that writing images moves nothing
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        shape = (len(group["key"]), *self._dataset.size, channels)
        _reserve(self._file, math.prod(shape) * dtype.itemsize)
        group.create_dataset(side, shape=shape, dtype=dtype, dcpl=layout)
        self._file.flush()

    def checkpoint(self) -> None:
        """Mark as done what is on the disk, not what is about to be."""
        self._sync()
        for split, written in self._written.items():
            if written:
                self._file[split]["done"][sorted(written)] = 1
                written.clear()
        self._file.flush()

    def finish(self) -> None:
        """Turn the complete file into a pack."""
        for i, side in enumerate(SIDES):
            if side == "b" and self._dataset.single:
                for split in SPLITS:
                    self._file[split]["b"] = self._file[split]["a"]
            kind = self._file["train"][side].dtype
            self._file.attrs[f"max_value_{side}"] = self._dataset.max_values[i] or np.iinfo(kind).max
        if not self._dataset.aligned:
            groups = [self._file[split] for split in SPLITS]
            for truth in ("homography", "points"):
                if not any(np.isfinite(group[truth][...]).any() for group in groups):
                    for group in groups:
                        del group[truth]
        self._file.attrs["sha256"] = content_hash(self._file)
        for split in SPLITS:
            del self._file[split]["done"]
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())

    def close(self) -> None:
        with suppress(*_DISK):
            self._file.close()


def _resumable(file: Any, head: Mapping[str, Any], keys: Keys) -> bool:
    """Whether a partial file is of this very data set, and whole."""
    if any(file.attrs.get(name) != value for name, value in head.items()):
        return False
    for split in SPLITS:
        group = file.get(split)
        if group is None or "done" not in group or _GREY in group or ("homography" in group) != ("points" in group):
            return False
        if list(group["key"].asstr()[...]) != keys[split]:
            return False
    return True


def _decoded(
    dataset: Dataset, split: Split, keys: Sequence[str], todo: Sequence[int], workers: int
) -> Iterator[tuple[int, PairImages]]:
    """Read pairs in threads (decoders release the lock), in order, a few ahead of the writer."""
    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[int, Future[PairImages]]] = deque()
    try:
        for index in todo:
            waiting.append((index, pool.submit(_load, dataset, split, keys[index])))
            if len(waiting) > 4 * workers:
                first, pair = waiting.popleft()
                yield first, pair.result()
        for first, pair in waiting:
            yield first, pair.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(dataset: Dataset, split: Split, key: str) -> PairImages:
    """Read a pair and bring it to the pack's size."""
    where = f"{split} pair {key!r}"
    try:
        a, b, homography, points = dataset.read(split, key)
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    sizes = (a.shape[0], a.shape[1]), (b.shape[0], b.shape[1])
    if dataset.aligned and sizes[0] != sizes[1]:
        raise DataError(f"{where}: sizes differ in an aligned set (height, width): A {sizes[0]}, B {sizes[1]}")
    if dataset.aligned and (homography is not None or points is not None):
        raise DataError(f"{where} has a homography or tie points although the set is declared aligned")
    a = _grey_if_grey(resize(a, dataset.size, dataset.interpolation))
    b = a if dataset.single else _grey_if_grey(resize(b, dataset.size, dataset.interpolation))
    for image, grey, modality in zip((a, b), dataset.grey, dataset.modalities, strict=True):
        if grey and image.ndim == 3:
            raise DataError(
                f"{where}: {modality} must be grey, but this picture has colours; are the folders of "
                f"{' and '.join(dataset.modalities)} swapped?"
            )
    return PairImages(a, b, *_truth_at(dataset.size, sizes, homography, points))


def _truth_at(
    size: tuple[int, int],
    before: tuple[tuple[int, int], tuple[int, int]],
    homography: NDArray[np.float64] | None,
    points: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Label and tie points of images resized from ``before`` (A's, B's) to ``size``."""
    if homography is None and points is None:
        return None, None
    import torch

    from regbench import geometry

    if homography is not None:
        source, target = ((old, size) for old in before)
        homography = geometry.rescale(torch.from_numpy(homography), source, target).numpy()
    if points is not None:
        found = torch.from_numpy(np.asarray(points, np.float64).reshape(-1, 4))
        moved = [
            geometry.transform_points(geometry.resize_matrix(old, size), side)
            for old, side in zip(before, (found[:, :2], found[:, 2:]), strict=True)
        ]
        points = torch.cat(moved, dim=1).numpy()
    return homography, points


def _grey_if_grey(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """One channel of an image whose three are the same, as thermal images are often stored."""
    if image.ndim == 2:
        return image
    first = image[..., 0]
    same = (first == image[..., 1]).all() and (first == image[..., 2]).all()
    return first if same else image


def _reserve(file: Any, more: int) -> None:
    """Take the disk space of so many more bytes now: a disk that is too small is told before hours of decoding."""
    handle = file.id.get_vfd_handle()
    try:
        os.posix_fallocate(handle, 0, os.fstat(handle).st_size + more)
    except AttributeError:  # not on this system: the disk tells later
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        # some file systems cannot reserve


@contextmanager
def _disk_errors(partial: Path) -> Iterator[None]:
    """Turn a failure to write into one line."""
    try:
        yield
    except _DISK as error:
        number = getattr(error, "errno", None)
        if number is None and (match := re.search(r"errno = (\d+)", str(error))):
            number = int(match[1])
        if number is None and not isinstance(error, OSError):
            raise  # not of the disk
        full = number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        told = os.strerror(number) if number else " ".join(str(error).split())
        reason = "no space left on the device" if full else told
        raise DataError(f"cannot write {partial}: {reason}; the same command continues where it stopped") from error
