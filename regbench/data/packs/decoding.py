"""Pairs of a data set as its pack stores them: decoded, brought to one size, in grey where they are grey."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import RANGE_SETTINGS, Dataset, PairImages, Split
from regbench.data.packs.sources import FileState, noting
from regbench.data.reading import resize
from regbench.data.value_ranges import ROBUST, Rule, full_range, percentiles, stretched
from regbench.errors import DataError


class Decoded(NamedTuple):
    """A pair as its pack stores it, and the files it was read from."""

    number: int
    """Its position in the keys of the split."""
    pair: PairImages
    files: dict[Path, FileState]


def decoded_pairs(
    dataset: Dataset, split: Split, keys: Sequence[str], todo: Sequence[int], workers: int, rules: tuple[Rule, Rule]
) -> Iterator[Decoded]:
    """Read pairs of a split in threads (decoders release the interpreter's lock), a few ahead of the caller.

    Args:
        dataset: the reader.
        split: which pairs.
        keys: of all pairs of the split.
        todo: positions in ``keys`` of the pairs to read.
        workers: threads.
        rules: how the value ranges of A and B are found.

    Yields:
        The pairs, in the order of ``todo``.

    Raises:
        DataError: a pair cannot be read, or is not what the data set declares; names the pair.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Decoded]] = deque()
    try:
        for index in todo:
            waiting.append(pool.submit(_decoded, dataset, split, keys[index], index, rules))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decoded(dataset: Dataset, split: Split, key: str, index: int, rules: tuple[Rule, Rule]) -> Decoded:
    """Read a pair and bring it to the pack's size."""
    with noting() as files:
        try:
            pair = dataset.read(split, key)
        except OSError as error:
            raise DataError(f"{split} pair {key!r} cannot be read: {error}") from error
    return Decoded(index, _as_stored(dataset, f"{split} pair {key!r}", pair, rules), files)


def _as_stored(dataset: Dataset, where: str, pair: PairImages, rules: tuple[Rule, Rule]) -> PairImages:
    """Check a pair and bring it to the pack's size; ``where`` names it in errors."""
    a, b, homography, points = pair
    sizes = (a.shape[0], a.shape[1]), (b.shape[0], b.shape[1])
    if dataset.aligned and sizes[0] != sizes[1]:
        raise DataError(f"{where}: sizes differ in an aligned set (height, width): A {sizes[0]}, B {sizes[1]}")
    if dataset.aligned and (homography is not None or points is not None):
        raise DataError(f"{where} has a homography or tie points although the set is declared aligned")
    a = _ranged(a, RANGE_SETTINGS[0], rules[0], where)
    b = a if dataset.single else _ranged(b, RANGE_SETTINGS[1], rules[1], where)
    a = _grey_if_grey(resize(a, dataset.size, dataset.interpolation))
    b = a if dataset.single else _grey_if_grey(resize(b, dataset.size, dataset.interpolation))
    for image, grey, modality in zip((a, b), dataset.grey, dataset.modalities, strict=True):
        if grey and image.ndim == 3:
            raise DataError(
                f"{where}: {modality} must be grey, but this picture has colours; are the folders of "
                f"{' and '.join(dataset.modalities)} swapped?"
            )
    return PairImages(a, b, *_truth_at(dataset.size, sizes, homography, points))


def _ranged(image: NDArray[np.generic], setting: str, rule: Rule, where: str) -> NDArray[np.generic]:
    """An image whose values can be stored: stretched where its rule is one for each image."""
    if rule.kind == "image":
        return stretched(image, rule.percent)
    whole = full_range(image.dtype)
    if rule.values is not None and whole is not None and rule.values.low >= whole.high:
        raise DataError(
            f"{where}: {setting}={rule} lies beyond all that {image.dtype} pixels hold ({whole}), so every image of "
            f"side {setting[-1].upper()} would be black"
        )
    if rule.kind == "full" and whole is None:
        seen = percentiles([image], 0.0) or "one value alone"
        raise DataError(
            f"{where}: side {setting[-1].upper()} holds pixels of neither 8 nor 16 bits ({image.dtype} as read, here "
            f"{seen}), which do not say what is black and white: add --set dataset.{setting}=LOW..HIGH or "
            f"--set dataset.{setting}=percentile:{ROBUST}, or store it with 8 or 16 bits"
        )
    return image


def _truth_at(
    size: tuple[int, int],
    before: tuple[tuple[int, int], tuple[int, int]],
    homography: NDArray[np.float64] | None,
    points: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Label and tie points after A and B were resized from the two sizes ``before`` to ``size``, (height, width)."""
    if homography is None and points is None:
        return None, None
    import torch

    from regbench import geometry

    if homography is not None:
        source, target = ((old, size) for old in before)
        homography = geometry.rescale(torch.from_numpy(homography), source, target).numpy()
    if points is not None:
        both = torch.from_numpy(np.asarray(points, np.float64).reshape(-1, 4))
        moved = [
            geometry.transform_points(geometry.resize_matrix(old, size), side)
            for old, side in zip(before, (both[:, :2], both[:, 2:]), strict=True)
        ]
        points = torch.cat(moved, dim=1).numpy()
    return homography, points


def _grey_if_grey(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """An image whose three channels are the same, as thermal images are often stored, in one channel."""
    if image.ndim == 2:
        return image
    first = image[..., 0]
    nan = image.dtype.kind == "f"
    same = all(np.array_equal(first, image[..., band], equal_nan=nan) for band in (1, 2))
    return first if same else image
