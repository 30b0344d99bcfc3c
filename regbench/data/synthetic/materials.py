"""What things are made of, and how each modality sees a material before a scene's own variation."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Material(IntEnum):
    """Every segment of a scene is of one material."""

    WATER = 0
    GRASS = 1
    CEREAL = 2
    MAIZE = 3
    RAPE = 4
    SOIL = 5
    FOREST = 6
    ROAD = 7
    TRACK = 8
    YARD = 9
    TILE = 10
    METAL = 11
    FLAT = 12


class Look(NamedTuple):
    """One material as six sensors see it."""

    rgb: tuple[float, float, float]
    """Reflectance in [0, 1] as displayed."""
    nir: float
    """Near-infrared reflectance in [0, 1]."""
    day: float
    """Apparent temperature by day, in [0, 1] of the scene's span."""
    night: float
    """Apparent temperature before dawn, in [0, 1] of the scene's span."""
    sar: float
    """Radar backscatter, dB."""
    rough: float
    """Strength of its texture relative to bare soil."""
    mapped: tuple[int, int, int]
    """Cartographic colour, RGB in 0..255."""


_LOOKS: dict[Material, Look] = {
    Material.WATER: Look((0.13, 0.22, 0.30), 0.05, 0.14, 0.86, -23.0, 0.15, (158, 199, 226)),
    Material.GRASS: Look((0.36, 0.47, 0.25), 0.66, 0.42, 0.34, -13.0, 0.8, (200, 225, 170)),
    Material.CEREAL: Look((0.68, 0.61, 0.38), 0.55, 0.55, 0.26, -10.0, 0.7, (247, 235, 190)),
    Material.MAIZE: Look((0.25, 0.40, 0.19), 0.78, 0.34, 0.44, -7.5, 0.9, (232, 240, 196)),
    Material.RAPE: Look((0.72, 0.70, 0.22), 0.82, 0.38, 0.38, -5.5, 0.7, (251, 241, 158)),
    Material.SOIL: Look((0.53, 0.41, 0.30), 0.34, 0.74, 0.22, -15.0, 1.0, (240, 226, 208)),
    Material.FOREST: Look((0.14, 0.25, 0.13), 0.58, 0.24, 0.64, -8.0, 2.2, (141, 188, 125)),
    Material.ROAD: Look((0.45, 0.45, 0.46), 0.25, 0.86, 0.74, -19.5, 0.25, (255, 255, 255)),
    Material.TRACK: Look((0.72, 0.64, 0.51), 0.44, 0.70, 0.30, -17.0, 0.4, (214, 190, 160)),
    Material.YARD: Look((0.60, 0.58, 0.54), 0.36, 0.68, 0.58, -11.5, 1.1, (226, 222, 226)),
    Material.TILE: Look((0.61, 0.29, 0.21), 0.42, 0.80, 0.46, -8.0, 0.4, (196, 156, 140)),
    Material.METAL: Look((0.84, 0.85, 0.86), 0.72, 0.30, 0.10, -6.0, 0.3, (166, 150, 170)),
    Material.FLAT: Look((0.33, 0.33, 0.35), 0.22, 0.94, 0.54, -10.0, 0.5, (206, 176, 166)),
}

BUILDINGS = (Material.TILE, Material.METAL, Material.FLAT)
WAYS = (Material.ROAD, Material.TRACK)
GABLED = (Material.TILE, Material.METAL)
ROWS = (Material.CEREAL, Material.MAIZE, Material.RAPE, Material.SOIL)
"""Materials sown or ploughed in rows."""


def members(materials: tuple[Material, ...]) -> NDArray[np.bool_]:
    """Which materials are among ``materials``, ``(materials,)``, indexed by :class:`Material`."""
    return np.array([material in materials for material in Material])


def table(field: str) -> NDArray[np.float32]:
    """One field of every look, ``(materials,)`` or ``(materials, 3)``, indexed by :class:`Material`."""
    return np.array([getattr(_LOOKS[material], field) for material in Material], dtype=np.float32)
