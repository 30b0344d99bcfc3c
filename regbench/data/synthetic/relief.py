"""What height does to light and radar: slopes, shadows and the side that faces the sensor."""

from __future__ import annotations

import math

import cv2
import numpy as np

from regbench.data.synthetic.noise import Field


def slope(surface: Field, azimuth: float) -> Field:
    """Rise per pixel away from ``azimuth`` (radians), ``(H, W)``: positive where the surface faces it."""
    dx = np.asarray(cv2.Sobel(surface, cv2.CV_32F, 1, 0, ksize=3, scale=0.125), np.float32)
    dy = np.asarray(cv2.Sobel(surface, cv2.CV_32F, 0, 1, ksize=3, scale=0.125), np.float32)
    return -(dx * np.float32(math.cos(azimuth)) + dy * np.float32(math.sin(azimuth)))


def overhang(height: Field, azimuth: float, tangent: float, reach: int) -> Field:
    """How far below something the ray towards ``azimuth`` passes, ``(H, W)`` pixels; at most 0 in the open.

    Args:
        height: ``(H, W)`` pixels.
        azimuth: where the ray goes, radians.
        tangent: rise of the ray per pixel.
        reach: pixels searched.
    """
    padded = np.pad(height, reach, mode="edge")
    size_y, size_x = height.shape
    best = np.full_like(height, -np.inf)
    for step in range(1, reach + 1):
        x = reach + round(step * math.cos(azimuth))
        y = reach + round(step * math.sin(azimuth))
        np.maximum(best, padded[y : y + size_y, x : x + size_x] - np.float32(step * tangent), out=best)
    return best - height


def shadow(height: Field, azimuth: float, tangent: float, reach: int) -> Field:
    """Blocked share of the light from ``azimuth``, ``(H, W)`` in [0, 1]; arguments as :func:`overhang`."""
    blocked: Field = np.clip(overhang(height, azimuth, tangent, reach) * np.float32(1.6), 0, 1)
    return blocked
