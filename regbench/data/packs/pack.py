"""A pack as it is read by training and evaluation; :mod:`regbench.data.packs.format` describes the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import Split
from regbench.contained import check_hdf5
from regbench.data.duplicates.exact import seen_in_training
from regbench.data.packs.format import (
    BLOCK,
    FORMAT,
    SIDES,
    SPLITS,
    VERSION,
    content_hash,
    dataset_of,
    is_plain_8bit,
    seal_of,
    to_memory,
)
from regbench.data.packs.memo import remember, remembered
from regbench.data.packs.sources import Files, from_json
from regbench.data.value_ranges import ValueRange, recorded
from regbench.errors import DataError
from regbench.texts import is_folder_name, one_line

if TYPE_CHECKING:
    import torch


_BROKEN = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError, OSError)
"""What reading a file raises that has the form of a pack and not its content."""


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
    ranges: tuple[ValueRange, ValueRange]
    """The stored values of A and B that mean 0.0 and 1.0."""
    recorded_ranges: tuple[str, str]
    """The same as runs record them, see :func:`regbench.data.value_ranges.recorded`."""
    channels: tuple[int, int]
    counts: Mapping[Split, int]
    size_rule: str
    max_patch: int | None
    """Side of the central square both images of an unaligned pair fill, px; None: all of it."""
    distortion: str
    """``none``, or the colour distortion that is drawn anew whenever an image is read; see
    :mod:`regbench.data.photometric`."""
    sha256: str
    """Of the content as it is read (images, keys, groups, labels, and what they mean), whatever the file's layout."""
    root: Path | None
    """The folder it was made of, where there was one."""
    state: tuple[int, int, int]
    """Inode, size and time of the file that was checked; another one is not read."""
    seen: str | None = None
    """Which image is in train and in test, in one line that says what to do; None: none is, or the card says why."""

    @classmethod
    def open(cls, path: Path) -> Pack:
        """Open a pack and check that it is one and that its content has the hash that is stored with it.

        The content is hashed unless this very file was hashed before, see :mod:`regbench.data.packs.memo`.

        Raises:
            DataError: missing, truncated, edited, not a pack, or of another version; says what to do.
        """
        try:
            with _open_file(path) as file:
                state = _state(path)
                head = _checked_head(path, file)
                if remembered(path, "sha256") != head["sha256"]:
                    _check_content(path, file, head)
                    remember(path, "sha256", str(head["sha256"]))
                ranges = (_range(head, "a"), _range(head, "b"))
                return cls(
                    path=path,
                    name=str(head["dataset"]),
                    version=str(head["dataset_version"]),
                    config=json.loads(head["config"]),
                    modalities=(str(head["modality_a"]), str(head["modality_b"])),
                    size=(int(head["height"]), int(head["width"])),
                    aligned=bool(head["aligned"]),
                    single=file["train/a"] == file["train/b"],
                    ranges=ranges,
                    recorded_ranges=(_recorded(file, "a", ranges[0]), _recorded(file, "b", ranges[1])),
                    channels=(file["train/a"].shape[3], file["train/b"].shape[3]),
                    counts={split: len(file[split]["key"]) for split in SPLITS},
                    size_rule=str(head["size_rule"]),
                    max_patch=int(head["max_patch"]) if "max_patch" in head else None,
                    distortion=str(head.get("distortion", "none")),
                    sha256=str(head["sha256"]),
                    root=Path(str(head["root"])) if "root" in head else None,
                    state=state,
                    seen=str(head["seen"]) if "seen" in head else None,
                )
        except _BROKEN as error:
            said = one_line(f"{type(error).__name__}: {error}")
            raise DataError(f"{path} is an incomplete pack ({said}); {_remedy(path)}") from None

    def open_file(self) -> Any:
        """The HDF5 file, for reading; raises DataError where it is no longer the one that was checked."""
        if self.path.is_file() and _state(self.path) != self.state:
            raise DataError(f"{self.path} was changed while it was in use; run the same command again")
        return _open_file(self.path)

    def files(self) -> tuple[str, Files] | None:
        """``read`` or ``root`` and the files it was made of; None where an earlier regbench kept no list.

        Raises:
            DataError: the list was edited.
        """
        with self.open_file() as file:
            if "files" not in file:
                return None
            text = file["files"][...].tobytes()
            scope, sha256 = str(file.attrs["files_scope"]), file.attrs["files_sha256"]
        if hashlib.sha256(text).hexdigest() != sha256:
            raise DataError(f"{self.path} is damaged: its list of files was edited; {_remedy(self.path)}")
        return scope, from_json(text)

    def images(self, split: Split, side: Literal["a", "b"], device: torch.device | str = "cpu") -> torch.Tensor:
        """All images of one side, ``(N, C, H, W)`` on ``device``, in memory pixel by pixel as the file has them.

        uint8 as stored (255 means 1.0); 16-bit and float sides, and those whose range is not 0..255, come as
        float32 in [0, 1].
        """
        import torch

        values = self.ranges[SIDES.index(side)]
        with self.open_file() as file:
            array = file[split][side]
            n, h, w, c = array.shape
            dtype = torch.uint8 if is_plain_8bit(array.dtype, values) else torch.float32
            out = torch.empty((n, h, w, c), dtype=dtype, device=device)
            for start in range(0, n, BLOCK):
                block = to_memory(array[start : start + BLOCK], values)
                out[start : start + len(block)] = torch.from_numpy(block).to(device)
        return out.permute(0, 3, 1, 2)

    def keys(self, split: Split) -> list[str]:
        """The names of the pairs, in the order of the images."""
        with self.open_file() as file:
            return [str(key) for key in file[split]["key"].asstr()[...]]

    def groups(self, split: Split) -> NDArray[np.int32]:
        """The image each pair comes from, ``(N,)``; confidence intervals resample these."""
        with self.open_file() as file:
            return np.asarray(file[split]["group"][...], dtype=np.int32)

    def homographies(self, split: Split) -> NDArray[np.float64] | None:
        """Labels ``(N, 3, 3)``, pixels of A to pixels of B, NaN where a pair has none; None without any."""
        with self.open_file() as file:
            return np.asarray(file[split]["homography"][...]) if "homography" in file[split] else None

    def points(self, split: Split) -> NDArray[np.float64] | None:
        """Tie points ``(N, K, 4)``, ``x, y`` in A then in B, NaN beyond those a pair has; None without any."""
        with self.open_file() as file:
            return np.asarray(file[split]["points"][...]) if "points" in file[split] else None

    def verify(self) -> None:
        """Hash the content again and look for images that are in train and in test.

        Raises:
            DataError: the content is not what was prepared; or an image is in train and in test, and the card does
                not say that this must be so.
        """
        with self.open_file() as file:
            _check_content(self.path, file, _checked_head(self.path, file))
            seen = seen_in_training(file, self.name)
        if seen:
            raise DataError(seen)


def _range(head: Mapping[str, Any], side: str) -> ValueRange:
    return ValueRange(float(head.get(f"min_value_{side}", 0)), float(head[f"max_value_{side}"]))


def _recorded(file: Any, side: str, values: ValueRange) -> str:
    return recorded(str(file.attrs.get(f"range_rule_{side}", "")), values, file[f"train/{side}"].dtype)


def read_head(path: Path) -> dict[str, Any]:
    """The root attributes of a pack, its content not checked; raises DataError as :meth:`Pack.open` does."""
    with _open_file(path) as file:
        return _checked_head(path, file)


def _checked_head(path: Path, file: Any) -> dict[str, Any]:
    """The root attributes of an open pack."""
    head = dict(file.attrs)
    if head.get("format") != FORMAT:
        raise DataError(f"{path} is an HDF5 file but not a regbench pack; {_remedy(path)}")
    if (version := head.get("version")) != VERSION:
        raise DataError(f"{path} is a pack of version {version}, not {VERSION}; {_remedy(path)}")
    if "seal" in head and seal_of(head) != head["seal"]:
        raise DataError(f"{path} is damaged: its attributes were edited; {_remedy(path)}")
    if not is_folder_name(str(head["dataset"])):
        raise DataError(f"{path}: {one_line(str(head['dataset']))!r} is no name of a data set; {_remedy(path)}")
    check_hdf5(path, file)
    return head


def _check_content(path: Path, file: Any, head: Mapping[str, Any]) -> None:
    """Hash the content of an open pack; raises DataError when it is not what was prepared."""
    if (sha256 := content_hash(file)) != head["sha256"]:
        raise DataError(
            f"{path} is damaged: its content hashes to {sha256[:12]}, not {str(head['sha256'])[:12]}; {_remedy(path)}"
        )


def _remedy(path: Path) -> str:
    return f"make it again with --force, or `regbench datasets prepare {dataset_of(path)} --force` and its --root"


def _state(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _open_file(path: Path) -> Any:
    """Open an HDF5 file for reading; raises DataError with what to do."""
    import h5py

    remedy = f"make it with `regbench datasets prepare {dataset_of(path)}`"
    if not path.is_file():
        raise DataError(f"there is no pack at {path}; {remedy}")
    try:
        # Some network file systems refuse locks; a finished pack is never written to, so none is needed.
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        reason = "is truncated" if "truncated" in str(error) else "is not a pack, or damaged"
        raise DataError(f"{path} {reason}; {remedy}") from None
