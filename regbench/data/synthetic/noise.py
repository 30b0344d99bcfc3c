"""Random streams and smooth noise: the only sources of chance in a synthetic scene."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""An image-shaped array of real values, ``(H, W)``."""


def stream(seed: int, *path: int) -> np.random.Generator:
    """The random stream at ``path`` below ``seed``; different paths are independent.

    Fixed to PCG64 rather than numpy's default generator, whose choice may change between versions.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=path)))


def octave(rng: np.random.Generator, size: int, cell: float) -> Field:
    """Smooth noise ``(size, size)`` of unit variance (about) whose blobs are ``cell`` pixels wide."""
    if cell <= 1:
        return rng.standard_normal((size, size), dtype=np.float32)
    if cell > 8:
        # Large blobs are made small and enlarged: a random phase costs no pixels outside the image.
        factor = int(cell / 4)
        small = octave(rng, size // factor + 2, cell / factor)
        side = small.shape[0] * factor
        return _enlarge(small, side)[:size, :size].copy()
    # Two nodes more than fit, cropped at a random phase: no octave is pinned to the image's corner.
    nodes = int(size / cell) + 3
    grid = rng.standard_normal((nodes, nodes), dtype=np.float32)
    side = max(size + 1, round(nodes * cell))
    x, y = rng.integers(0, side - size, 2).tolist()
    return _enlarge(grid, side)[y : y + size, x : x + size] * np.float32(
        1.5
    )  # interpolation loses variance between nodes


def fractal(rng: np.random.Generator, size: int, cells: tuple[float, ...], falloff: float = 0.5) -> Field:
    """Sum of octaves ``(size, size)``, each ``falloff`` times as strong as the one before; unit variance."""
    total = octave(rng, size, cells[0])
    weight, power = 1.0, 1.0
    for cell in cells[1:]:
        weight *= falloff
        power += weight * weight
        total += np.float32(weight) * octave(rng, size, cell)
    return total * np.float32(power**-0.5)


def blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur that keeps the shape, ``(H, W)`` or ``(H, W, 3)``; reflected borders."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _enlarge(grid: Field, side: int) -> Field:
    return np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
