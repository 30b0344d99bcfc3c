"""The format of a pack: one HDF5 file a prepared data set, read instead of image files.

Root attributes: ``format``, ``version`` (of the format), ``dataset``, ``dataset_version``, ``config`` (JSON),
``modality_a``, ``modality_b``, ``height``, ``width``, ``aligned``, ``max_value_a``, ``max_value_b`` (the stored value
that means white), ``size_rule`` and ``sha256``. Others are there only where they say something: ``min_value_a``,
``min_value_b``, the stored value that means black where it is not 0; ``range_rule_a``, ``range_rule_b``, how these
values were found where they are percentiles (:mod:`regbench.data.value_ranges`); ``max_patch``, the side of the central
square both images of an unaligned pair fill; ``distortion``, the name of the colour distortion that is drawn anew
whenever an image is read (:mod:`regbench.data.photometric`); ``shared``, why the data set has images in train and in
test; ``seen``, which image is in both although ``shared`` is not there (:mod:`regbench.data.duplicates.exact`).

What the pack was made of is told by ``root`` (the folder, where there is one), the array ``files`` (JSON as bytes, see
:mod:`regbench.data.packs.sources`), ``files_sha256`` and ``files_scope``: ``read``, the files the reader read, or
``root``, all files of the folder. ``seal`` is a hash of all other attributes.

Groups ``train`` and ``test``, each with

* ``a``, ``b``: ``(N, H, W, C)`` uint8, uint16 or float32 (NaN: no data); C = 1 when every image of that side is grey,
  else 3 (RGB). Sets of single images store them once, ``b`` is a link to ``a``;
* ``key``: N strings, the reader's names of the pairs;
* ``group``: N int32, the image a pair comes from (numbered in order of appearance within the split);
* ``homography``: ``(N, 3, 3)`` float64, pixels of A to pixels of B at the pack's size, NaN where a pair has no label;
  only in sets of really unaligned pairs that have labels;
* ``points``: ``(N, K, 4)`` float64, tie points ``x, y`` in A then in B, NaN beyond those a pair has; only where there
  are any.

Images lie one after the other, uncompressed: deflate saves a fifth of the space of a photograph and makes reading ten
times slower, and every run starts with reading.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import Split
from regbench.data.value_ranges import ValueRange

FORMAT, VERSION = "regbench-pack", 2
"""Version 1 has images as groups where 2 has scenes and cameras, and was not searched for repeated images."""
SPLITS: tuple[Split, Split] = ("train", "test")
SIDES = ("a", "b")
BLOCK = 256
"""Images read at a time: bounds the memory beside the result."""
_ARRAYS = (("group", "<i4"), ("a", None), ("b", None), ("homography", "<f8"), ("points", "<f8"))
_HASHED = ("modality_a", "modality_b", "height", "width", "aligned", "max_value_a", "max_value_b")
_HASHED_IF_THERE = ("max_patch", "distortion", "min_value_a", "min_value_b", "range_rule_a", "range_rule_b")

Progress = Callable[[str, int, int], None]
"""Called with (split, pairs done, pairs in all) while a pack is written."""


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


def seal_of(attributes: Mapping[str, Any]) -> str:
    """SHA-256 over all root attributes but the seal: those outside of the content hash cannot be edited unseen."""
    sealed = {name: value for name, value in attributes.items() if name != "seal"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, default=lambda x: x.item()).encode()).hexdigest()


def pack_path(name: str, version: str, config: Mapping[str, Any], root: Path | None, directory: Path) -> Path:
    """The file of a data set, ``<directory>/<name>-<10 hex>.h5``: every choice of settings and root has its own."""
    origin = [VERSION, name, version, dict(config), str(root.resolve()) if root else None]
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    return directory / f"{name}-{digest[:10]}.h5"


def dataset_of(path: Path) -> str:
    """The data set that a path of :func:`pack_path` names, for error messages; ``NAME`` where it is another path."""
    match = re.fullmatch(r"(.+)-[0-9a-f]{10}", path.stem)
    return match[1] if match else "NAME"


def is_plain_8bit(dtype: np.dtype[np.generic], values: ValueRange) -> bool:
    """Whether stored pixels are uint8 with 0 for black and 255 for white."""
    return bool(dtype == np.uint8) and values == (0, 255)


def to_memory(stored: NDArray[np.generic], values: ValueRange) -> NDArray[np.generic]:
    """Stored images as they are held in memory: plain 8 bit as they are, others float32 in [0, 1].

    Args:
        stored: of any shape.
        values: the stored values that mean 0.0 and 1.0; what lies beyond is clipped.
    """
    return stored if is_plain_8bit(stored.dtype, values) else values.to_unit(stored)
