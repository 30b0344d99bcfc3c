"""A pack as it is written: stored, resumed after an interruption, hashed.

A pack grows as ``<file>.partial`` and gets its name when it is complete. Its arrays are allocated in full before the
first image is written, so the file's structure is whole at any moment and a killed run can be resumed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import Dataset, PairImages, Split
from regbench.data.duplicates.exact import seen_in_training
from regbench.data.naming import composed, printable
from regbench.data.packs.decoding import decoded_pairs
from regbench.data.packs.format import FORMAT, SIDES, SPLITS, VERSION, Progress, content_hash, seal_of
from regbench.data.packs.sources import SourceJournal, noting, to_json
from regbench.data.value_ranges import Rule, full_range, percentiles_of_set, rules_of
from regbench.errors import DataError

_DISK = (OSError, RuntimeError)  # HDF5 raises either when a disk fails
_CHECKPOINT = 64  # pairs between two moments a killed run can resume from
_STRUCTURE, _OF_A_PAIR = 2**16, 256  # bytes of a pack without its images, at most: HDF5 crashes where these do not fit
_GREY = "grey"  # what an array is called while it is widened to three channels

Keys = Mapping[Split, Sequence[str]]
Groups = Mapping[Split, NDArray[np.int32]]


def numbered_groups(dataset: Dataset, split: Split, keys: Sequence[str]) -> NDArray[np.int32]:
    """The group of each pair, ``(N,)``, numbered in order of appearance."""
    names = [dataset.group(split, key) for key in keys]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int32)


def write_pack(
    dataset: Dataset,
    name: str,
    version: str,
    path: Path,
    workers: int = 2,
    progress: Progress | None = None,
    ranges: Mapping[str, str] | None = None,
) -> None:
    """Write the pack of a data set to ``path``, resuming what an earlier call left in ``<path>.partial``.

    ``ranges`` are the settings ``range_a`` and ``range_b``, as far as they were given.

    Raises:
        UsageError: the ranges do not fit the data set.
        DataError: the data set cannot be read or the disk is full; the partial file stays for another try.
    """
    rules = rules_of(dataset, ranges or {})
    with noting() as lists:
        keys = {split: list(dataset.keys(split)) for split in SPLITS}
        groups = {split: numbered_groups(dataset, split, keys[split]) for split in SPLITS}
    if not any(keys.values()):
        raise DataError(f"data set {name!r} has no pairs")
    for split in SPLITS:
        _check_keys(name, split, keys[split])
    partial = path.with_name(path.name + ".partial")
    with _disk_errors(partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = SourceJournal(partial, dataset.root)
        head = _head(dataset, name, version, ranges or {})
        writer = _Writer.open(partial, dataset, head, keys, groups, journal, rules)
        journal.add(lists, of_pair=False)
        try:
            for split in SPLITS:
                writer.fill(split, keys[split], workers, progress)
            writer.finish(name)
        except BaseException:
            with suppress(*_DISK):  # the disk may be what failed
                writer.checkpoint()
            raise
        finally:
            writer.close()
        os.replace(partial, path)
        journal.remove()


def _check_keys(name: str, split: Split, keys: Sequence[str]) -> None:
    """Raise DataError for keys that a pack cannot store, or that name two pairs alike; names them."""
    seen: dict[str, str] = {}
    for key in keys:
        if not isinstance(key, str) or not key:
            raise DataError(f"{name}: the {split} key {key!r} is no name")
        try:
            key.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{name}: the name of {split} pair {printable(key)} is not UTF-8 and cannot be stored; rename the file"
            ) from None
        if (other := seen.get(composed(key))) is not None:
            how = "is there twice" if other == key else f"and {other!r} differ only in Unicode form"
            raise DataError(f"{name}: {split} pair {key!r} {how}")
        seen[composed(key)] = key


def _head(dataset: Dataset, name: str, version: str, ranges: Mapping[str, str]) -> dict[str, Any]:
    """The root attributes that are known before the first image is read."""
    optional: dict[str, Any] = {}
    if dataset.card.shared:
        optional["shared"] = dataset.card.shared
    if dataset.max_patch is not None:
        optional["max_patch"] = dataset.max_patch
    if dataset.distortion != "none":
        from regbench.data.photometric import check_distortion

        check_distortion(dataset.distortion)
        optional["distortion"] = dataset.distortion
    return optional | {
        "format": FORMAT,
        "version": VERSION,
        "dataset": name,
        "dataset_version": version,
        "config": json.dumps(dataset.config.model_dump(mode="json") | dict(ranges), sort_keys=True),
        "modality_a": dataset.modalities[0],
        "modality_b": dataset.modalities[1],
        "height": dataset.size[0],
        "width": dataset.size[1],
        "aligned": dataset.aligned,
        "size_rule": dataset.card.size_rule,
        **({} if dataset.root is None else {"root": str(dataset.root.resolve())}),
    }


class _Writer:
    """The growing file."""

    def __init__(self, file: Any, dataset: Dataset, journal: SourceJournal, rules: tuple[Rule, Rule]) -> None:
        self._file = file
        self._rules = rules
        self._dataset = dataset
        self._journal = journal
        self._written: dict[Split, list[int]] = {split: [] for split in SPLITS}

    @classmethod
    def open(
        cls,
        path: Path,
        dataset: Dataset,
        head: Mapping[str, Any],
        keys: Keys,
        groups: Groups,
        journal: SourceJournal,
        rules: tuple[Rule, Rule],
    ) -> _Writer:
        """Resume a partial file of the same data set, settings and files, else start one."""
        import h5py

        with suppress(OSError, RuntimeError):  # absent, or killed while its structure changed: start over
            file = h5py.File(path, "r+")
            if _resumable(file, head, keys, groups) and journal.resume():
                return cls(file, dataset, journal, rules)
            file.close()
        journal.begin()
        file = h5py.File(path, "w")
        _reserve(file, _STRUCTURE + _OF_A_PAIR * sum(map(len, keys.values())))
        file.attrs.update(head)
        for split in SPLITS:
            n = len(keys[split])
            group = file.create_group(split)
            group.create_dataset("key", data=keys[split], dtype=h5py.string_dtype(), shape=(n,))
            group["group"] = groups[split]
            group["done"] = np.zeros(n, dtype=np.uint8)
            if not dataset.aligned:
                group["homography"] = np.full((n, 3, 3), np.nan)
                group["points"] = np.full((n, 0, 4), np.nan)
        file.flush()
        return cls(file, dataset, journal, rules)

    def fill(self, split: Split, keys: Sequence[str], workers: int, progress: Progress | None) -> None:
        """Decode and store the pairs of a split that are not there yet."""
        todo = np.flatnonzero(self._file[split]["done"][...] == 0).tolist()
        done = len(keys) - len(todo)
        for index, pair, files in decoded_pairs(self._dataset, split, keys, todo, workers, self._rules):
            self._journal.add(files)
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
        """Store the tie points of a pair; the array is widened to the most any pair has, NaN where one has fewer."""
        stored = self._file[split]["points"][...]
        if len(points) > stored.shape[1]:
            unused = np.full((len(stored), len(points) - stored.shape[1], 4), np.nan)
            stored = np.concatenate([stored, unused], axis=1)
        stored[index, : len(points)] = points
        del self._file[split]["points"]
        self._file[split]["points"] = stored

    def _array(self, split: Split, side: str, image: NDArray[np.generic], key: str) -> Any:
        """The array of a side: allocated for its first image, widened to three channels for the first in colour."""
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

        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.CONTIGUOUS)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # now, so that writing images moves nothing
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        shape = (len(group["key"]), *self._dataset.size, channels)
        _reserve(self._file, math.prod(shape) * dtype.itemsize)
        group.create_dataset(side, shape=shape, dtype=dtype, dcpl=creation)
        self._file.flush()

    def checkpoint(self) -> None:
        """Mark pairs as done after they and the names of their files are on the disk, never before."""
        self._journal.flush()
        self._sync()
        for split, written in self._written.items():
            if written:
                self._file[split]["done"][sorted(written)] = 1
                written.clear()
        self._file.flush()

    def finish(self, name: str) -> None:
        """Turn the complete file into a pack."""
        if seen := seen_in_training(self._file, name):
            self._file.attrs["seen"] = seen
        for i, side in enumerate(SIDES):
            if side == "b" and self._dataset.single:
                for split in SPLITS:
                    if "b" not in self._file[split]:
                        self._file[split]["b"] = self._file[split]["a"]
            self._set_range(side, self._rules[i])
        if not self._dataset.aligned:
            groups = [self._file[split] for split in SPLITS]
            for truth in ("homography", "points"):
                if not any(np.isfinite(group[truth][...]).any() for group in groups):
                    for group in groups:
                        del group[truth]
        self._file.attrs["sha256"] = content_hash(self._file)
        scope, files = self._journal.finish()
        text = to_json(files)
        if "files" in self._file:  # killed at this very place before
            del self._file["files"]
        self._file["files"] = np.frombuffer(text, np.uint8)
        self._file.attrs["files_scope"], self._file.attrs["files_sha256"] = scope, hashlib.sha256(text).hexdigest()
        self._file.attrs["seal"] = seal_of(self._file.attrs)
        for split in SPLITS:
            del self._file[split]["done"]
        self._sync()

    def _set_range(self, side: str, rule: Rule) -> None:
        """Write down which stored values of a side are black and white."""
        array = self._file["train"][side]
        if rule.kind == "percentile":
            images = array if len(array) else self._file["test"][side]
            values = percentiles_of_set(images, rule.percent)
            if values is None:
                raise DataError(f"range_{side}={rule}: all pixels of side {side.upper()} have one value")
        else:
            values = rule.values or full_range(array.dtype)
        assert values is not None
        for name, value in (("min_value", values.low), ("max_value", values.high)):
            if value or name == "max_value":
                self._file.attrs[f"{name}_{side}"] = int(value) if value == int(value) else value
        if rule.kind in ("percentile", "image"):
            self._file.attrs[f"range_rule_{side}"] = str(rule)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())

    def close(self) -> None:
        with suppress(*_DISK):
            self._file.close()


def _resumable(file: Any, head: Mapping[str, Any], keys: Keys, groups: Groups) -> bool:
    """Whether a partial file is of this very data set, and whole."""
    if any(file.attrs.get(name) != value for name, value in head.items()):
        return False
    for split in SPLITS:
        group = file.get(split)
        if group is None or "done" not in group or _GREY in group or ("homography" in group) != ("points" in group):
            return False
        if list(group["key"].asstr()[...]) != keys[split] or not np.array_equal(group["group"], groups[split]):
            return False
    return True


def _reserve(file: Any, more: int) -> None:
    """Reserve ``more`` bytes on the disk, so that one that is too small fails before hours of decoding."""
    handle = file.id.get_vfd_handle()
    try:
        os.posix_fallocate(handle, 0, os.fstat(handle).st_size + more)
    except AttributeError:  # not on this system: the disk fails later
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        # Some file systems cannot reserve space.


@contextmanager
def _disk_errors(partial: Path) -> Iterator[None]:
    """Turn a failure to write into a DataError of one line."""
    try:
        yield
    except _DISK as error:
        number = getattr(error, "errno", None)
        if number is None and (match := re.search(r"errno = (\d+)", str(error))):
            number = int(match[1])
        if number is None and not isinstance(error, OSError):
            raise  # not a failure of the disk
        full = number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        message = os.strerror(number) if number else " ".join(str(error).split())
        reason = "no space left on the device" if full else message
        raise DataError(f"cannot write {partial}: {reason}; the same command continues where it stopped") from error
