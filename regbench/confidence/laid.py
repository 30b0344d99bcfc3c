"""Two images laid on each other by a homography, on a grid that neither of them is finer than."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Mask = NDArray[np.float32]
Matrix = NDArray[np.float64]
Size = tuple[int, int]
"""(height, width) in pixels."""

SIDE = 256
"""Longest side of the grid, px."""
LEAST_SIDE = 24
"""Shortest side on which anything is measured, px."""
MARGIN = 0.25
"""How far the grid reaches over what the source covers, as a share of its sides: room for shifted copies."""
FRAME = 0.005
"""Share of an image from which on black pixels at its border are a frame."""
RIM = 3
"""px beside invalid pixels that are not looked at: a rim looks like an edge."""


@dataclass(frozen=True)
class Laid:
    """Source and target on one grid.

    Attributes:
        source: ``(h, w)`` grey, 0 where ``seen`` is 0.
        target: ``(h, w)`` grey.
        seen: ``(h, w)`` 1 where the source has pixels, away from their rim.
        valid: ``(h, w)`` 1 where the target has pixels, away from their rim.
    """

    source: Image
    target: Image
    seen: Mask
    valid: Mask

    @property
    def diagonal(self) -> float:
        """Of what the source covers, px of the grid."""
        rows, columns = (np.flatnonzero(self.seen.any(axis=axis)) for axis in (1, 0))
        return float(np.hypot(np.ptp(rows), np.ptp(columns))) if len(rows) else 0.0

    def halved(self) -> Laid:
        """The same at half the resolution."""
        size = (max(1, self.source.shape[1] // 2), max(1, self.source.shape[0] // 2))
        grey = [
            np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA), np.float32)
            for x in (self.source, self.target)
        ]
        masks = [(cv2.resize(x, size, interpolation=cv2.INTER_AREA) >= 1) for x in (self.seen, self.valid)]
        return Laid(grey[0], grey[1], masks[0].astype(np.float32), masks[1].astype(np.float32))


def grey_of(image: NDArray[np.floating]) -> tuple[Image, Mask]:
    """Mean of the channels of ``(H, W)`` or ``(H, W, C)``, and 1 where it is part of the picture.

    What is not finite is no part of it, and neither is an area of exact zeros that reaches the border and covers more
    than :data:`FRAME` of the image: two images that are framed alike agree on the frame whatever they show.
    """
    grey = np.asarray(image, np.float32)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    known = np.isfinite(grey)
    grey = np.where(known, grey, np.float32(0))
    black = (grey == 0) & known
    if black.mean() > FRAME:
        _, label, stats, _ = cv2.connectedComponentsWithStats(black.astype(np.uint8), connectivity=4)
        rim = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
        frames = [n for n in np.unique(rim) if n and stats[n, cv2.CC_STAT_AREA] > FRAME * grey.size]
        known &= ~np.isin(label, frames)
    return grey, known.astype(np.float32)


def corners_of(size: Size) -> Matrix:
    """``(4, 2)`` px: TL, TR, BR, BL, once around."""
    h, w = size
    return np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], np.float64)


def moved(homography: Matrix, points: Matrix) -> Matrix:
    """Points ``(N, 2)`` mapped by a homography; not finite where they go to infinity."""
    xyz = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(xyz[:, :2] / xyz[:, 2:])


def lay(source: NDArray[np.floating], target: NDArray[np.floating], homography: Matrix) -> Laid | None:
    """Warp the source onto the part of the target around it.

    The grid is that of the target, cut to what the source covers and a margin, and shrunk until it is at most
    :data:`SIDE` px long and no finer than the source.

    Args:
        source: ``(H, W)`` or ``(H, W, C)``; pixels that are not finite are left out.
        target: likewise, of any size.
        homography: source pixels to target pixels, which does not fold the source.

    Returns:
        None where the images share too little to measure anything.
    """
    moving, known = grey_of(source)
    fixed, valid = grey_of(target)
    quad = moved(homography, corners_of((moving.shape[0], moving.shape[1])))
    limit = np.array(fixed.shape[::-1]) - 1
    low, high = np.clip(quad.min(axis=0), 0, limit), np.clip(quad.max(axis=0), 0, limit)
    reach = MARGIN * (high - low)
    x0, y0 = np.floor(np.maximum(low - reach, 0)).astype(int)
    x1, y1 = np.ceil(np.minimum(high + reach, limit)).astype(int) + 1
    magnified = float(np.sqrt(area(quad) / max(1.0, (moving.shape[0] - 1.0) * (moving.shape[1] - 1.0))))
    scale = min(1.0, SIDE / max(x1 - x0, y1 - y0), 1.0 / max(magnified, 1e-6))
    width, height = round((x1 - x0) * scale), round((y1 - y0) * scale)
    if min(width, height) < LEAST_SIDE:
        return None
    onto = _resizing((y1 - y0, x1 - x0), (height, width)) @ np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    fixed, valid = (_shrunk(x[y0:y1, x0:x1], (height, width)) for x in (fixed, valid))
    before = (moving.shape[0], moving.shape[1])
    after = tuple(max(2, round(n * min(1.0, magnified * scale))) for n in before)
    moving, known = (_shrunk(x, (after[0], after[1])) for x in (moving, known))
    warp = onto @ homography @ np.linalg.inv(_resizing(before, (after[0], after[1])))
    laid = cv2.warpPerspective(moving, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpPerspective(known, warp, (width, height))
    return Laid(np.asarray(laid, np.float32), fixed, _inner(np.asarray(seen, np.float32)), _inner(valid))


def area(quad: Matrix) -> float:
    """Of a polygon ``(N, 2)``, px^2."""
    x, y = quad.T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def _inner(mask: Mask) -> Mask:
    whole = np.pad((mask > 0.999).astype(np.uint8), 1)
    return np.asarray(cv2.erode(whole, np.ones((2 * RIM + 1,) * 2, np.uint8))[1:-1, 1:-1], np.float32)


def _resizing(before: Size, after: Size) -> Matrix:
    sy, sx = after[0] / before[0], after[1] / before[1]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])


def _shrunk(image: Image, size: Size) -> Image:
    if image.shape == size:
        return np.ascontiguousarray(image)
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
