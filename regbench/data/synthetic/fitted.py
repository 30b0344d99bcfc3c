"""The constants that give each embedded pair the statistics of a real one. Frozen.

Each was found by ``benchmarks/fit_embedded.py``, from statistics of images alone
(:mod:`regbench.data.modality_stats`), before any method was trained on the rendering. None is ever changed for the
sake of a method. Whoever changes one raises ``RENDERING`` of the data set, because another data set follows.
docs/embedded.md has real and embedded side by side.
"""

from __future__ import annotations

from typing import NamedTuple

TEXTURE = (1.5, 3.0, 6.0, 12.0)
"""Sizes of the blobs of fine texture, px."""
TEXTURE_FALLOFF = 0.9
"""Strength of each size relative to the one before."""
PATCHES = (40.0, 16.0)
"""Sizes of the patches of moisture and growth, px."""
BUSY = 0.8182
"""Standard deviation of the logarithm of the texture's strength from place to place."""
ROUGHEST = 2.5
"""Largest strength of texture relative to bare soil."""
DEPTH_RELIEF = 1.0271
"""Height of the ground beside that of buildings, as displayed in depth."""
SAR_GRAIN = 0.6116
"""Standard deviation of the point spread that speckle is seen through, px."""
MAP_PARCELS = 0.5356
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
    "optical": Sensor(offset=0.3603, contrast=0.3572, shared=0.059, growth=-0.0354, blur=0.3, noise=0.0067),
    "nir": Sensor(
        offset=0.5236,
        contrast=0.25,
        follow=0.5606,
        turned=0.2,
        shared=0.0457,
        private=0.0128,
        growth=0.0428,
        blur=0.5363,
        noise=0.002,
    ),
    "thermal": Sensor(
        offset=0.1233,
        contrast=0.25,
        follow=0.8333,
        turned=0.32,
        shared=0.0124,
        private=0.0082,
        growth=0.0428,
        blur=0.607,
        noise=0.0012,
    ),
    "sar": Sensor(
        offset=0.3379, contrast=0.4181, turned=0.73, shared=0.0268, private=0.0311, blur=0.5672, noise=0.3869
    ),
    "depth": Sensor(
        offset=0.3192,
        contrast=0.3849,
        follow=0.2992,
        turned=0.63,
        shared=0.0106,
        growth=-0.0566,
        blur=0.7852,
        noise=0.001,
    ),
    "map": Sensor(offset=0.5773, contrast=0.4416, blur=0.5296, noise=0.0018),
}
REAL: dict[str, dict[str, float]] = {
    "optical": {
        "mean": 0.5007,
        "contrast": 0.1243,
        "noise": 0.01392,
        "speckle": 0.00793,
        "patchiness": 1.2333,
        "slope": 2.05293,
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
        "grey": 0.1376,
        "mim": 0.0306,
        "mim_reduced": 0.0097,
        "edges": 0.1875,
        "mean": 0.936,
        "contrast": 0.0717,
        "noise": 0.00275,
        "speckle": 3e-05,
        "patchiness": 2.1616,
        "slope": 2.1771,
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
