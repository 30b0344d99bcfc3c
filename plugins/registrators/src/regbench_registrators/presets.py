"""Small sizes of this distribution's networks, for budgets below ``short`` and for tests (``tiny``).

A preset states what differs from the published defaults of the method's ``Config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Presets = Mapping[str, Mapping[str, Any]]

DHN_PRESETS: Presets = {
    "hour": {"widths": (48, 48, 96, 96), "hidden": 512},
    "quick": {"widths": (32, 32, 64, 64), "hidden": 256},
    "smoke": {"widths": (8, 8, 16, 16), "hidden": 32},
    "tiny": {"widths": (8, 8, 16, 16), "hidden": 32},
}

DHN_RESNET_PRESETS: Presets = {
    "hour": {"depths": (2, 2, 2, 2), "widths": (48, 96, 192, 384)},
    "quick": {"depths": (2, 2, 2, 2), "widths": (32, 64, 128, 256)},
    "smoke": {"depths": (1, 1, 1, 1), "widths": (16, 16, 32, 32)},
    "tiny": {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16)},
}

CUDHN_PRESETS: Presets = {
    "hour": DHN_RESNET_PRESETS["hour"],
    "quick": {"mask_widths": (4, 8, 16), **DHN_RESNET_PRESETS["quick"]},
    "smoke": {"mask_widths": (4, 8), **DHN_RESNET_PRESETS["smoke"]},
    "tiny": {"mask_widths": (4,), **DHN_RESNET_PRESETS["tiny"]},
}

MHN_PRESETS: Presets = {
    "hour": {"widths": (24, 48, 48, 96, 192)},
    "quick": {"widths": (16, 32, 32, 64, 128)},
    "smoke": {"widths": (8, 16, 16, 32)},
    "tiny": {"widths": (8, 8, 16, 16)},
}

_MCNET = {"scales": 3, "finest": 4, "stem_stride": 2}
MCNET_PRESETS: Presets = {
    "hour": {**_MCNET, "widths": (16, 32, 48, 64), "dim": 48},
    "quick": {**_MCNET, "widths": (16, 24, 32, 48), "dim": 32},
    "smoke": {**_MCNET, "scales": 1, "widths": (16, 24, 32), "dim": 32, "decoder": 16, "iterations": 1},
    "tiny": {**_MCNET, "scales": 2, "stem": 8, "widths": (8, 12, 16), "dim": 16, "decoder": 16},
}

_IHN = {"finest": 4, "radius": 3, "stem_stride": 2, "decoder_widths": (32, 32)}
IHN_PRESETS: Presets = {
    "hour": {**_IHN, "iterations": (4, 2), "stem": 24, "widths": (24, 48, 64), "dim": 64},
    "quick": {**_IHN, "iterations": (4, 2), "stem": 16, "widths": (16, 32, 48), "dim": 48},
    "smoke": {**_IHN, "iterations": (2, 1), "stem": 16, "widths": (16, 24, 32), "dim": 32},
    "tiny": {
        **_IHN,
        "iterations": (2, 1),
        "stem": 8,
        "widths": (8, 12, 16),
        "dim": 16,
        "decoder_widths": (16, 16),
    },
}

# SCPNet's estimator is one estimate: its presets are those of IHN without their iterations.
SINGLE_SHOT_PRESETS: Presets = {
    name: {key: value for key, value in preset.items() if key != "iterations"} for name, preset in IHN_PRESETS.items()
}

_RHWF = {"finest": 4, "reach": 4, "stem_stride": 2, "windows": ((0, 3), (3,)), "motion": 16, "decoder_widths": (16, 16)}
RHWF_PRESETS: Presets = {
    "hour": {
        **_RHWF,
        "windows": ((0, 3), (3, 3)),
        "stem": 24,
        "widths": (24, 40, 56),
        "dim": 48,
        "motion": 48,
        "decoder_widths": (48, 48),
    },
    "quick": {
        **_RHWF,
        "windows": ((0, 3), (3, 3)),
        "stem": 16,
        "widths": (16, 32, 32),
        "dim": 32,
        "motion": 32,
        "decoder_widths": (32, 32),
    },
    "smoke": {**_RHWF, "stem": 16, "widths": (16, 24, 32), "dim": 32},
    "tiny": {**_RHWF, "stem": 8, "widths": (8, 12, 16), "dim": 16},
}
