"""Pairs of one scene in two modalities, drawn, with a known homography."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from regbench.confidence.laid import corners_of
from regbench.data.synthetic import Synthetic, SyntheticConfig

SIZE = 256


@cache
def embedded(b: str, seed: int = 3):
    """Optical and ``b`` of one embedded scene, float32 in [0, 1], aligned, ``(256, 256[, 3])``."""
    data = Synthetic(SyntheticConfig(a="optical", b=b, size=SIZE, gap=1.0, seed=seed, train=1, test=1))
    pair = data.read("train", data.keys("train")[0])
    return tuple(np.asarray(image, np.float32) / 255 for image in pair[:2])


def homography(moved, size=SIZE):
    """That moves the corners TL, TR, BR, BL of a square by ``moved`` ``(4, 2)`` px."""
    quad = corners_of((size, size)).astype(np.float32)
    return cv2.getPerspectiveTransform(quad, quad + np.asarray(moved, np.float32)).astype(np.float64)


def unaligned(b: str, seed: int = 3):
    """Source, target and the homography between them: the target is ``b``, the source a warped optical image."""
    a, target = embedded(b, seed)
    truth = homography(np.random.default_rng(seed).uniform(-20, 20, (4, 2)))
    source = cv2.warpPerspective(
        a, truth, (SIZE, SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )
    return source, target, truth


def shifted(matrix, dx, dy):
    """A homography followed by a shift."""
    return np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]]) @ matrix
