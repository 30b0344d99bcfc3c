"""The same image in train and in test, as source or as target: pixels are compared as the pack stores them.

What is compared is what a reader decoded, so that it does not matter how a file came to be there twice: another
spelling of its path, a link, a copy, a copy in another lossless format. It holds for every reader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regbench.data.packs.format import BLOCK, SIDES

ROWS = 8
"""Rows of an image that are hashed first; whole images are read only where these agree."""
FLAT = 2
"""An image whose channels vary by no more stored levels shows nothing: plain water on a map, a depth without echo."""


class Place(NamedTuple):
    """An image of a pack: split, side ``a`` or ``b``, position `at` in the split."""

    split: str
    side: str
    at: int


def seen_in_training(file: Any, name: str) -> str | None:
    """What is wrong with a pack in which an image is in train and in test; one that shows nothing does not count.

    Args:
        file: the open pack, images and keys written. Its attribute ``shared``, if any, says why its data set shares
            images on purpose; then nothing is wrong.
        name: of the data set.

    Returns:
        One line that names both pairs; None where nothing is wrong.
    """
    both = [] if file.attrs.get("shared") else shared(file)
    if not both:
        return None
    first, second = both[0]
    more = f" ({len(both)} such images)" if len(both) > 1 else ""
    return (
        f"{name}: {_told(file, first)} and {_told(file, second)} are the same image, so training sees test images{more}"
        "; take one of them away and prepare the set again"
    )


def shared(file: Any) -> list[tuple[Place, Place]]:
    """Images of train that are in test too, ``(train, test)``, one entry an image of test."""
    seen: dict[bytes, list[Place]] = {}
    for place, mark in _marks(file, "train"):
        seen.setdefault(mark, []).append(place)
    digests: dict[Place, bytes] = {}

    def digest(place: Place) -> bytes:
        if place not in digests:
            image = _plain(file[place.split][place.side][place.at])
            digests[place] = b"" if _is_flat(image) else hashlib.blake2b(_described(image), digest_size=16).digest()
        return digests[place]

    found = []
    for place, mark in _marks(file, "test"):
        like = (other for other in seen.get(mark, ()) if digest(place) and digest(other) == digest(place))
        if (other := next(like, None)) is not None:
            found.append((other, place))
    return found


def _marks(file: Any, split: str) -> Iterator[tuple[Place, bytes]]:
    """Every image of a split with a hash of some of its rows."""
    for side in SIDES:
        if side not in file[split] or (side == "b" and file[split]["a"] == file[split]["b"]):
            continue  # single images are stored once
        array = file[split][side]
        step = max(1, array.shape[1] // ROWS)
        for start in range(0, array.shape[0], BLOCK):
            for i, rows in enumerate(array[start : start + BLOCK, step // 2 :: step], start):
                yield Place(split, side, i), hashlib.blake2b(_described(_plain(rows)), digest_size=16).digest()


def _plain(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """An image ``(H, W, C)`` in one channel where all are the same, so that grey and grey stored as RGB agree."""
    same = image.shape[2] > 1 and bool((image == image[..., :1]).all())
    return image[..., :1] if same else image


def _is_flat(image: NDArray[np.generic]) -> bool:
    channels = image.reshape(-1, image.shape[2]).astype(np.int64)
    return bool((np.ptp(channels, axis=0) <= FLAT).all())


def _described(image: NDArray[np.generic]) -> bytes:
    return f"{image.shape} {image.dtype}".encode() + image.tobytes()


def _told(file: Any, place: Place) -> str:
    key = file[place.split]["key"].asstr()[place.at]
    return f"{file.attrs[f'modality_{place.side}']} of {place.split} pair {key!r}"
