"""The constants that ``benchmarks/fit_embedded.py`` fits to the statistics of real pairs; not fitted yet."""

from __future__ import annotations

from typing import NamedTuple

TEXTURE = (1.5, 3.0, 6.0, 12.0)
"""Sizes of the blobs of fine texture, px."""
TEXTURE_FALLOFF = 0.9
"""Strength of each size relative to the one before."""
PATCHES = (40.0, 16.0)
"""Sizes of the patches of moisture and growth, px."""
BUSY = 0.5
"""Standard deviation of the logarithm of the texture's strength from place to place."""
ROUGHEST = 2.5
"""Largest strength of texture relative to bare soil."""
DEPTH_RELIEF = 0.5
"""Height of the ground beside that of buildings, as displayed in depth."""
SAR_GRAIN = 0.6
"""Standard deviation of the point spread that speckle is seen through, px."""
MAP_PARCELS = 0.55
"""Share of the parcels and woods whose use a map shows; the others are paper."""


class Sensor(NamedTuple):
    """How a modality displays what it measures; lengths in px, the rest in displayed units (0 black, 1 white)."""

    offset: float
    """Added to all."""
    contrast: float
    """Gain of the modality's own view of the scene."""
    follow: float = 0.0
    """Gain of the optical brightness of segments."""
    turned: float = 0.0
    """Share of scenes in which all that follows optical (``follow``, ``shared``, ``growth``) is reversed: season and
    hour turn contrasts around. Half of one less the ratio of the real pairs' signed and absolute correlation."""
    shared: float = 0.0
    """Gain of the fine texture that optical shows."""
    private: float = 0.0
    """Gain of fine texture that no other modality shows, as strong as the shared one where that is strong."""
    growth: float = 0.0
    """Gain of the coarse patches of moisture and growth inside fields."""
    blur: float = 0.6
    """Standard deviation of the point spread."""
    noise: float = 0.0
    """Standard deviation of the noise; of radar relative to brightness."""


SENSORS: dict[str, Sensor] = {
    "optical": Sensor(0.3, 0.5, shared=0.05, blur=0.3, noise=0.005),
    "nir": Sensor(0.4, 0.5, follow=0.3, turned=0.2, shared=0.05, noise=0.005),
    "thermal": Sensor(0.0, 0.5, follow=0.2, turned=0.3, shared=0.02, private=0.01, blur=0.8, noise=0.003),
    "sar": Sensor(0.3, 0.5, follow=0.1, turned=0.7, shared=0.03, private=0.03, blur=0.5, noise=0.3),
    "depth": Sensor(0.2, 0.6, follow=0.2, turned=0.6, blur=1.0, noise=0.002),
    "map": Sensor(0.5, 0.45, blur=0.5, noise=0.002),
}
REAL: dict[str, dict[str, float]] = {
    "optical": {
        "mean": 0.499,
        "contrast": 0.12353,
        "noise": 0.01396,
        "speckle": 0.00794,
        "patchiness": 1.23163,
        "slope": 2.04453,
    },
    "nir": {
        "grey": 0.5364,
        "mim": 0.7211,
        "mim_reduced": 0.6507,
        "edges": 0.5775,
        "mean": 0.6222,
        "contrast": 0.1299,
        "noise": 0.00567,
        "speckle": 0.0008,
        "patchiness": 1.6588,
        "slope": 2.5728,
    },
    "thermal": {
        "grey": 0.309,
        "mim": 0.2817,
        "mim_reduced": 0.2776,
        "edges": 0.2628,
        "mean": 0.2306,
        "contrast": 0.1285,
        "noise": 0.00321,
        "speckle": 0.01775,
        "patchiness": 1.6646,
        "slope": 2.9879,
    },
    "sar": {
        "grey": 0.1949,
        "mim": 0.341,
        "mim_reduced": 0.3855,
        "edges": 0.152,
        "mean": 0.516,
        "contrast": 0.1446,
        "noise": 0.03762,
        "speckle": 0.0301,
        "patchiness": 0.5597,
        "slope": 1.544,
    },
    "map": {
        "grey": 0.1259,
        "mim": 0.047,
        "mim_reduced": 0.0347,
        "edges": 0.182,
        "mean": 0.9375,
        "contrast": 0.0713,
        "noise": 0.00291,
        "speckle": 4e-05,
        "patchiness": 2.1408,
        "slope": 2.1682,
    },
    "depth": {
        "grey": 0.47,
        "mim": 0.4193,
        "mim_reduced": 0.4253,
        "edges": 0.3725,
        "mean": 0.51,
        "contrast": 0.0998,
        "noise": 0.00122,
        "speckle": 0.00012,
        "patchiness": 1.6042,
        "slope": 3.3945,
    },
}
"""What was fitted to: statistics of 64 px patches of the training pairs of VEDAI (nir), LLVIP (thermal), OSdataset
(sar), GoogleMap (map) and DIML (depth), of small sets in their layouts; ``mim_reduced`` after averaging over 2 x 2 px.
``optical`` is the mean of the photographs of VEDAI, OSdataset and GoogleMap."""
