"""Pieces of two images laid on each other by a first homography, and the homography that many pieces agree on."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regbench.alignment.images import Floats, OwnImage
from regbench.alignment.types import Matches, Matrix
from regbench.alignment.windows import Window
from regbench.confidence.laid import Size, corners_of, moved

Points = NDArray[np.float64]
THRESHOLD = 1.5
"""Largest error of an inlier of the combined homography, in pixels of the level."""
_REACH = 24  # px of the source read around what a tile needs


class Laid(NamedTuple):
    """A piece of the target, and the source resampled on it."""

    source: Floats
    """``(h, w, 3)`` in [0, 1]."""
    target: Floats
    """Of the same shape."""
    seen: NDArray[np.bool_]
    """``(h, w)``, where both have data."""
    to_target: Matrix
    """Pixels of the piece to pixels of the whole target."""
    to_source: Matrix
    """Pixels of the resampled source to pixels of the whole source."""


def lay(source: OwnImage, target: OwnImage, start: Matrix, factor: float, window: Window) -> Laid | None:
    """Resample the source on a window of the target.

    Args:
        source: the moving image.
        target: the fixed image.
        start: source pixels to target pixels, roughly.
        factor: at least 1; pixels of the target along a pixel of the piece.
        window: of the target.

    Returns:
        The piece; None where the source does not reach it.
    """
    fixed = target.view(factor, window)
    h, w = fixed.pixels.shape[:2]
    to_source = np.linalg.inv(start) @ fixed.to_whole
    ring = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1.0]])
    if (_depths(to_source, ring) * to_source[2, 2] <= 0).any():
        return None
    quad = moved(to_source, ring)
    coarse = max(1.0, _scale(to_source, ring.mean(0)))
    low, high = np.floor(quad.min(0) - _REACH * coarse), np.ceil(quad.max(0) + _REACH * coarse)
    if (high < 0).any() or (low > np.array(source.size[::-1]) - 1).any() or not np.isfinite(quad).all():
        return None
    low, high = np.clip(low, -1e6, 1e6).astype(int), np.clip(high, -1e6, 1e6).astype(int)
    moving = source.view(coarse, Window(int(low[1]), int(high[1]) + 1, int(low[0]), int(high[0]) + 1))
    back = np.linalg.inv(moving.to_whole) @ to_source  # piece to view of the source
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpPerspective(moving.pixels, back, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = np.ones(moving.pixels.shape[:2], np.uint8) if moving.valid is None else moving.valid.astype(np.uint8)
    seen = cv2.warpPerspective(mask, back, (w, h), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    if fixed.valid is not None:
        seen &= fixed.valid
    return Laid(np.asarray(pixels, np.float32), fixed.pixels, seen, fixed.to_whole, to_source)


def grid(window: Window, side: int, most: int) -> list[Window]:
    """Square windows of ``side`` px evenly spread over a window: as many as cover it, at most ``most`` each way."""

    def starts(low: int, high: int) -> list[int]:
        length = high - low
        if length <= side:
            return [low + (length - side) // 2]
        count = int(np.clip(np.ceil(1.25 * length / side), 2, most))
        return [round(low + k * (length - side) / (count - 1)) for k in range(count)]

    return [
        Window(top, top + side, left, left + side)
        for top in starts(window.top, window.bottom)
        for left in starts(window.left, window.right)
    ]


def overlap(source: tuple[int, int], target: tuple[int, int], homography: Matrix) -> Window | None:
    """The window of the target on which the source lies; None where they do not meet."""
    quad = moved(homography, corners_of(source))
    if (_depths(homography, corners_of(source)) <= 0).any() or not np.isfinite(quad).all() or np.abs(quad).max() > 1e6:
        return None
    area, common = cv2.intersectConvexConvex(
        cv2.convexHull(quad.astype(np.float32)), corners_of(target).astype(np.float32), handleNested=True
    )
    if area < 64 or common is None:
        return None
    low, high = np.floor(common.reshape(-1, 2).min(0)), np.ceil(common.reshape(-1, 2).max(0))
    return Window(int(low[1]), int(high[1]) + 1, int(low[0]), int(high[0]) + 1)


def combine(source: Points, target: Points, threshold: float) -> tuple[Matrix | None, NDArray[np.bool_]]:
    """The homography that most correspondences agree on (USAC_MAGSAC, refined by least squares), and its inliers.

    Args:
        source: ``(N, 2)`` pixels.
        target: ``(N, 2)`` pixels.
        threshold: largest error of an inlier, px of the target.
    """
    none = np.zeros(len(source), bool)
    if len(source) < 8:
        return None, none
    cv2.setRNGSeed(0)
    # Both sides to about unit size: MAGSAC's own tolerances are made for pixels of a common image.
    to_unit = [_unit(points) for points in (source, target)]
    a, b = (moved(m, p) for m, p in zip(to_unit, (source, target), strict=True))
    grow = 1.0 / to_unit[1][0, 0]
    found, inliers = cv2.findHomography(
        a * 512, b * 512, cv2.USAC_MAGSAC, threshold / grow * 512, maxIters=5000, confidence=0.9999
    )
    if found is None or inliers is None or inliers.sum() < 6:
        return None, none
    kept = inliers.ravel() > 0
    polished, _ = cv2.findHomography(a[kept] * 512, b[kept] * 512, 0)
    found = found if polished is None else polished
    up = np.diag([512.0, 512.0, 1.0])
    whole = np.linalg.inv(up @ to_unit[1]) @ found @ up @ to_unit[0]
    return np.asarray(whole / whole[2, 2]), kept


def matches_by(matches: Matches, source: Matrix, target: Matrix) -> Matches:
    """Matches in other pixels: mapped by a homography on each side."""
    return Matches(moved(source, matches.source), moved(target, matches.target), matches.inliers)


def scale_at(homography: Matrix, size: Size) -> float:
    """Pixels of the target along a pixel of the source, at the middle of the source."""
    return _scale(homography, corners_of(size).mean(0))


def _scale(homography: Matrix, at: Points) -> float:
    steps = np.array([[0, 0], [1, 0], [0, 1.0]]) + at
    there = moved(homography, steps)
    u, v = there[1] - there[0], there[2] - there[0]
    return float(np.sqrt(abs(u[0] * v[1] - u[1] * v[0])))


def _depths(homography: Matrix, points: Points) -> Points:
    return np.asarray(points @ homography[2, :2] + homography[2, 2])


def _unit(points: Points) -> Matrix:
    centre, size = points.mean(0), max(1e-9, float(np.abs(points - points.mean(0)).max()))
    return np.array([[1 / size, 0, -centre[0] / size], [0, 1 / size, -centre[1] / size], [0, 0, 1.0]])
