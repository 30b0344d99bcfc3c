"""A picture by which a person can judge an alignment."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from regbench.alignment.images import Floats, OwnImage
from regbench.alignment.tiles import lay
from regbench.alignment.types import CONFIDENT, Alignment
from regbench.confidence.laid import corners_of, moved

Picture = NDArray[np.uint8]
PANEL = 640
"""Longest side of a panel, px."""
_TEXT, _GAP = 26, 6
_YELLOW, _RED, _WHITE, _DARK = (255, 220, 0), (255, 70, 50), (255, 255, 255), (24, 24, 24)
_TILES = 8  # of the checkerboard, along the longer side


def overlay(alignment: Alignment) -> Picture:
    """Source, target with the source's outline, both laid on each other, and a checkerboard, side by side.

    Outside of what both show the target stays as it is. Contrast is stretched where an image uses little of its range.
    Without an answer there are only source and target, and the words "no alignment".

    Returns:
        ``(h, w, 3)`` RGB.
    """
    source, target = (_shown(image) for image in alignment.images())
    moving, fixed = (_panel(image) for image in (source, target))
    if not alignment.ok:
        return _page([("source", moving), ("target", fixed)], "no alignment was found for this pair", _RED)
    factor = max(1.0, max(target.size) / PANEL)
    laid = lay(source, target, alignment.homography, factor, target.whole)
    outlined = fixed.copy()
    ring = moved(np.linalg.inv(target.view(factor).to_whole) @ alignment.homography, corners_of(source.size))
    cv2.polylines(
        outlined, [np.round(np.clip(ring, -1e4, 1e4) * 16).astype(np.int32)], True, _YELLOW, 2, cv2.LINE_AA, 4
    )
    both, tiles = fixed.copy(), fixed.copy()
    if laid is not None:
        over, seen = _eight_bits(laid.source), laid.seen
        both[seen] = (0.5 * over[seen] + 0.5 * fixed[seen]).astype(np.uint8)
        side = max(4, max(fixed.shape[:2]) // _TILES)
        y, x = np.mgrid[: fixed.shape[0], : fixed.shape[1]]
        odd = seen & ((y // side + x // side) % 2 == 1)
        tiles[odd] = over[odd]
    sure = alignment.confidence >= CONFIDENT
    words = f"{alignment.method}, confidence {alignment.confidence:.2f}" + ("" if sure else ": do not rely on it")
    panels = [("source", moving), ("target, outline of source", outlined), ("half source", both), ("tiles", tiles)]
    return _page(panels, words, _WHITE if sure else _RED)


def _shown(image: OwnImage) -> OwnImage:
    return image.with_range("image:0.5") if image.little_used else image


def _panel(image: OwnImage) -> Picture:
    return _eight_bits(image.view(max(1.0, max(image.size) / PANEL)).pixels)


def _eight_bits(pixels: Floats) -> Picture:
    return np.asarray((pixels.clip(0, 1) * 255).round(), np.uint8)


def _page(panels: list[tuple[str, Picture]], words: str, colour: tuple[int, int, int]) -> Picture:
    """Panels beside each other, names above them, and a line over all."""
    tall = max(panel.shape[0] for _, panel in panels)
    width = sum(max(panel.shape[1], 200) for _, panel in panels) + _GAP * (len(panels) + 1)
    page = np.full((tall + 2 * _TEXT + _GAP, width, 3), _DARK, np.uint8)
    _write(page, words, (_GAP, _TEXT - 8), colour)
    left = _GAP
    for name, panel in panels:
        _write(page, name, (left, 2 * _TEXT - 8), _WHITE)
        h, w = panel.shape[:2]
        page[2 * _TEXT : 2 * _TEXT + h, left : left + w] = panel
        left += max(w, 200) + _GAP
    return page


def _write(page: Picture, words: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(page, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
