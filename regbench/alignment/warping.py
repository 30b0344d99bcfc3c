"""The source on the target's grid at full depth, piece by piece, so that memory does not bound its size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regbench.alignment.images import OwnImage
from regbench.alignment.types import Matrix
from regbench.alignment.windows import Window, valid
from regbench.confidence.laid import moved

TILE = 512
_BY_OPENCV = ("uint8", "uint16", "int16", "float32", "float64")
_LARGEST = 2**13  # px a side of the source that are read for one tile; more is averaged first


def warped(source: OwnImage, size: tuple[int, int], homography: Matrix) -> NDArray[Any]:
    """The source resampled on a grid, ``(H, W)`` or ``(H, W, bands)`` of its own type.

    Bilinear; where it shrinks, areas are averaged first.

    Args:
        source: the image; all its bands are resampled.
        size: height and width of the grid.
        homography: source pixels to pixels of the grid.
    """
    out = np.empty((*size, source.pixels.bands), source.pixels.dtype)
    for window, tile in warped_tiles(source, size, homography):
        bottom, right = min(window.bottom, size[0]), min(window.right, size[1])
        out[window.top : bottom, window.left : right] = tile[: bottom - window.top, : right - window.left]
    return out[..., 0] if out.shape[2] == 1 else out


def warped_tiles(source: OwnImage, size: tuple[int, int], homography: Matrix) -> Iterator[tuple[Window, NDArray[Any]]]:
    """Tiles ``(TILE, TILE, bands)`` of :func:`warped` in rows; those at the rim reach over it."""
    for top in range(0, size[0], TILE):
        for left in range(0, size[1], TILE):
            window = Window(top, top + TILE, left, left + TILE)
            yield window, _tile(source, window, homography)


def fill_of(source: OwnImage) -> float:
    """The value outside of a resampled source."""
    if source.pixels.nodata is not None:
        return source.pixels.nodata
    return float("nan") if source.pixels.dtype.kind == "f" else 0.0


def _tile(source: OwnImage, window: Window, homography: Matrix) -> NDArray[Any]:
    h, w = window.shape
    kind = source.pixels.dtype
    out = np.full((h, w, source.pixels.bands), fill_of(source), kind)
    back = np.linalg.inv(homography) @ np.array([[1, 0, window.left], [0, 1, window.top], [0, 0, 1.0]])
    ring = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1.0]])
    if ((ring @ back[2, :2] + back[2, 2]) * back[2, 2] <= 0).any():
        return out  # beyond the horizon
    quad = moved(back, ring)
    low = np.maximum(np.floor(quad.min(0)) - 2, 0).astype(int)
    high = np.minimum(np.ceil(quad.max(0)) + 3, np.array(source.size[::-1])).astype(int)
    if (high <= low).any():
        return out
    read = Window(int(low[1]), int(high[1]), int(low[0]), int(high[0]))
    blocks = max(1, int(np.sqrt(abs(np.linalg.det(back[:2, :2] / back[2, 2])))), max(read.shape) // _LARGEST)
    stored, mask, to_whole = _read(source, read, blocks)
    inverse = np.linalg.inv(to_whole) @ back
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # A pixel belongs to the source up to its own edge: beyond the outer centres its value goes on.
    share = cv2.warpPerspective(mask, inverse, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    at = moved(back, np.stack([x.ravel(), y.ravel()], 1).astype(np.float64)).reshape(h, w, 2)
    inside = ((at > -0.5) & (at < np.array(source.size[::-1]) - 0.5)).all(-1) & (share > 0.5)
    for band in range(stored.shape[2]):
        data = stored[..., band] if mask.all() else stored[..., band] * mask
        laid = cv2.warpPerspective(
            np.ascontiguousarray(data), inverse, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        if not mask.all():
            laid = laid / np.maximum(share, 1e-6)
        if kind.kind in "ui" and laid.dtype != kind:
            limits = np.iinfo(kind)
            laid = np.clip(np.round(laid), limits.min, limits.max)
        out[..., band][inside] = laid[inside].astype(kind)
    return out


def _read(source: OwnImage, window: Window, blocks: int) -> tuple[NDArray[Any], NDArray[np.float32], Matrix]:
    """A window, areas of so many pixels averaged: as OpenCV can warp it, its data's mask in [0, 1], and its place."""
    blocks = min(blocks, *window.shape)
    h, w = (n // blocks for n in window.shape)
    cut = Window(window.top, window.top + h * blocks, window.left, window.left + w * blocks)
    stored = source.pixels.read(cut)
    found = valid(source.pixels, stored, cut)
    if stored.dtype.name not in _BY_OPENCV:
        stored = stored.astype(np.float64)
    mask = np.ones((h, w), np.float32)
    if found is not None:
        stored = np.where(found[..., None], stored, 0)
        mask = np.asarray(cv2.resize(found.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA))
    if blocks > 1:
        bands = [
            cv2.resize(np.ascontiguousarray(stored[..., b]), (w, h), interpolation=cv2.INTER_AREA)
            for b in range(stored.shape[2])
        ]
        stored = np.stack(bands, -1)
        if found is not None:
            stored = stored / np.maximum(mask, 1e-6)[..., None]
    middle = (blocks - 1) / 2
    return stored, mask, np.array([[blocks, 0, middle + cut.left], [0, blocks, middle + cut.top], [0, 0, 1.0]])
