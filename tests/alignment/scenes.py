"""Pairs that tests make: one rendered scene seen by two sensors, moved by a known homography."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from regbench.data.synthetic import Synthetic, SyntheticConfig


@cache
def scene(size=512, modalities=("optical", "nir"), gap=0.0):
    """The same place as two sensors see it, both on one grid, uint8; without a gap B is a curve of A's luminance."""
    views = Synthetic(SyntheticConfig(train=1, test=1, size=size, a=modalities[0], b=modalities[1], gap=gap))
    images = views.read("train", views.keys("train")[0])
    return images.a, images.b


def large(size, seed=0):
    """A grey image (uint8) with detail at every scale, made fast at any size."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size), np.float32)
    for cells in (8, 24, 72, 216, 648):
        if cells < size:
            image += cv2.resize(rng.random((cells, cells), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    image -= image.min()
    return (image * (255 / image.max())).astype(np.uint8)


def moved(image, homography, size=None):
    """The image as it lies on a grid (height, width) by a homography; rims repeat."""
    h, w = size or image.shape[:2]
    flags = cv2.INTER_CUBIC
    return cv2.warpPerspective(image, homography, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def error(found, truth, size):
    """Mean distance at the corners of an image (height, width)."""
    h, w = size
    corners = np.array([[[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1.0]]])
    a, b = (cv2.perspectiveTransform(corners, np.asarray(x, float)) for x in (found, truth))
    return float(np.linalg.norm(a - b, axis=-1).mean())


def scaled(factor):
    """Pixels of an image to those of the same image ``factor`` times as large."""
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1.0]])
