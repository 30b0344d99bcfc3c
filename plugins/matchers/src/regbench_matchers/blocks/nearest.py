"""Nearest neighbours of descriptors, with the ratio test and the mutual test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Distances = NDArray[np.float64]
_MOST = 2**22
"""Distances computed at a time where there are more: 32 MB, so that two large images do not take gigabytes."""


def euclidean(source: NDArray[np.float32], target: NDArray[np.float32]) -> Distances:
    """Euclidean distances ``(N, M)`` between descriptors ``(N, D)`` and ``(M, D)``."""
    return np.sqrt(_squared(source, target))


def hamming(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> Distances:
    """Numbers of differing bits ``(N, M)`` between packed descriptors ``(N, D)`` and ``(M, D)``."""
    return _squared(np.unpackbits(source, axis=1), np.unpackbits(target, axis=1))


def _squared(source: NDArray[Any], target: NDArray[Any]) -> Distances:
    # float64, because SIFT's squared distances are whole numbers too large for float32.
    a, b = source.astype(np.float64), target.astype(np.float64)
    return np.maximum((a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T), 0.0)


def nearest(distances: Distances, *, ratio: float = 1.0, mutual: bool = False) -> tuple[Indices, Indices]:
    """For each source descriptor its nearest target descriptor.

    Args:
        distances: ``(N, M)``; N and M may be 0.
        ratio: largest ratio of first to second distance (Lowe 2004); 1 switches the test off.
        mutual: keep only pairs that are each other's nearest.

    Returns:
        Two index arrays of the same length, into source and target.
    """
    n, m = distances.shape
    i = np.arange(n)
    if n == 0 or m == 0 or (ratio < 1 and m < 2):
        return i[:0], i[:0]
    j = distances.argmin(axis=1)
    keep = np.ones(n, bool)
    if ratio < 1:
        first, second = np.partition(distances, 1, axis=1)[:, :2].T
        keep &= first < ratio * second
    if mutual:
        keep &= distances.argmin(axis=0)[j] == i
    return i[keep], j[keep]


def match(
    source: NDArray[Any],
    target: NDArray[Any],
    distances: Callable[[Any, Any], Distances],
    *,
    ratio: float = 1.0,
    mutual: bool = False,
) -> tuple[Indices, Indices]:
    """:func:`nearest` of descriptors ``(N, D)`` and ``(M, D)``, without ever holding all ``N x M`` distances.

    Args:
        source: of N keypoints.
        target: of M keypoints.
        distances: from descriptors to their distances, such as :func:`euclidean`.
        ratio: as for :func:`nearest`.
        mutual: as for :func:`nearest`.
    """
    n, m = len(source), len(target)
    if n * m <= _MOST:
        return nearest(distances(source, target), ratio=ratio, mutual=mutual)
    rows = max(1, _MOST // m)
    found: list[tuple[Indices, Indices]] = []
    least, back = np.full(m, np.inf), np.zeros(m, np.intp)  # of each target descriptor, the nearest source
    for start in range(0, n, rows):
        block = distances(source[start : start + rows], target)
        i, j = nearest(block, ratio=ratio)
        found.append((i + start, j))
        if mutual:
            at = block.argmin(axis=0)
            nearer = block[at, np.arange(m)] < least
            least[nearer], back[nearer] = block[at, np.arange(m)][nearer], at[nearer] + start
    i, j = (np.concatenate(part) for part in zip(*found, strict=True))
    keep = back[j] == i if mutual else np.ones(len(i), bool)
    return i[keep], j[keep]
