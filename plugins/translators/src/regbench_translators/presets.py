"""The presets of every translator: sizes and schedules below the published ones, which are the settings' defaults.

``hour`` trains within half an hour on one CPU core, ``quick`` within minutes on two, ``smoke`` runs every part once,
``tiny`` is what the tests build. The translators that learn from unpaired images all see as many of them: 12,000 of
each modality at ``hour``, 880 at ``quick``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Presets = Mapping[str, Mapping[str, Any]]

_CYCLEGAN_SMALL = {"width": 8, "blocks": 2, "critic_width": 8, "critic_layers": 2}
CYCLEGAN_PRESETS: Presets = {
    "hour": {"steps": 6000, "batch": 2, "width": 16, "blocks": 4, "critic_width": 16, "lr": 5e-4},
    "quick": {"steps": 440, "batch": 2, "width": 16, "blocks": 4, "critic_width": 16, "lr": 5e-4},
    "smoke": _CYCLEGAN_SMALL | {"steps": 6, "batch": 2, "pool": 4},
    "tiny": _CYCLEGAN_SMALL | {"steps": 4, "batch": 2, "width": 4, "blocks": 1, "pool": 3},
}

_CONTRASTIVE_SMALL = {
    "width": 8,
    "blocks": 2,
    "critic_width": 8,
    "critic_layers": 2,
    "nce_layers": (0, 4, 8, 12),
    "codes": 16,
    "patches": 16,
}
_CUT_QUICK = {
    "steps": 440,
    "batch": 2,
    "width": 16,
    "blocks": 5,
    "critic_width": 16,
    "lr": 5e-4,
    "codes": 64,
    "patches": 64,
}
CUT_PRESETS: Presets = {
    "hour": _CUT_QUICK | {"steps": 6000},
    "quick": _CUT_QUICK,
    "smoke": _CONTRASTIVE_SMALL | {"steps": 6, "batch": 2},
    "tiny": _CONTRASTIVE_SMALL | {"steps": 4, "batch": 2, "width": 4},
}

_UNSB_QUICK = {
    "steps": 440,
    "batch": 2,
    "width": 16,
    "blocks": 3,
    "critic_width": 16,
    "lr": 5e-4,
    "times": 3,
    "nce_layers": (0, 4, 8, 12),
    "codes": 64,
    "patches": 64,
}
UNSB_PRESETS: Presets = {
    "hour": _UNSB_QUICK | {"steps": 6000},
    "quick": _UNSB_QUICK,
    "smoke": _CONTRASTIVE_SMALL | {"steps": 6, "batch": 2},
    "tiny": _CONTRASTIVE_SMALL | {"steps": 4, "batch": 2, "width": 4, "times": 3},
}

_MUNIT_SMALL = {"width": 8, "blocks": 1, "hidden": 16, "critic_width": 8, "scales": 2}
_MUNIT_QUICK = {
    "steps": 440,
    "halve_every": 220,
    "batch": 2,
    "width": 16,
    "blocks": 3,
    "hidden": 64,
    "critic_width": 16,
    "scales": 2,
    "lr": 5e-4,
}
MUNIT_PRESETS: Presets = {
    "hour": _MUNIT_QUICK | {"steps": 6000, "halve_every": 3000},
    "quick": _MUNIT_QUICK,
    "smoke": _MUNIT_SMALL | {"steps": 6, "halve_every": 3, "batch": 2},
    "tiny": _MUNIT_SMALL | {"steps": 4, "halve_every": 2, "batch": 2, "width": 4},
}

_UGATIT_SMALL = {"width": 4, "blocks": 1, "critic_width": 4, "global_layers": 5, "local_layers": 4}
_UGATIT_QUICK = {
    "steps": 440,
    "batch": 2,
    "width": 16,
    "blocks": 3,
    "critic_width": 16,
    "global_layers": 6,
    "lr": 5e-4,
}
UGATIT_PRESETS: Presets = {
    "hour": _UGATIT_QUICK | {"steps": 6000},
    "quick": _UGATIT_QUICK,
    "smoke": _UGATIT_SMALL | {"steps": 6, "batch": 2},
    "tiny": _UGATIT_SMALL | {"steps": 4, "batch": 2},
}

_MIMGCD_SMALL = {
    "base": 16,
    "multipliers": (1, 2, 4),
    "blocks": 1,
    "attention": False,
    "encoder": (8, 16, 32),
    "batch": 8,
}
MIMGCD_PRESETS: Presets = {
    "small": {"base": 32, "multipliers": (1, 2, 4, 4)},
    "hour": _MIMGCD_SMALL
    | {
        "steps": 1500,
        "refine_steps": 400,
        "encoder_steps": 300,
        "lr": 1e-3,
        "refine_lr": 5e-4,
        "encoder_lr": 2e-3,
        "erode": 3,
        "prediction": "v",
        "reduce": 2,
    },
    "quick": _MIMGCD_SMALL
    | {
        "steps": 110,
        "refine_steps": 40,
        "encoder_steps": 40,
        "lr": 1e-3,
        "refine_lr": 5e-4,
        "encoder_lr": 2e-3,
        "erode": 3,
        "prediction": "v",
        "reduce": 2,
    },
    "smoke": _MIMGCD_SMALL | {"steps": 6, "refine_steps": 3, "encoder_steps": 3, "batch": 4, "erode": 3, "reduce": 2},
    "tiny": _MIMGCD_SMALL | {"steps": 4, "refine_steps": 2, "encoder_steps": 2, "base": 8, "batch": 2, "erode": 4},
}

UNET_PRESETS: Presets = {
    "hour": {"widths": (16, 32, 64, 128)},
    "quick": {"widths": (16, 32, 64, 128)},
    "smoke": {"widths": (8, 16, 32)},
    "tiny": {"widths": (4, 8)},
}

SWIN_UNET_PRESETS: Presets = {
    "hour": {"dim": 8, "blocks": (1, 1, 2, 2)},
    "quick": {"dim": 8, "blocks": (1, 1, 2, 2)},
    "smoke": {"dim": 8, "blocks": (1, 2)},
    "tiny": {"dim": 8, "blocks": (1, 1)},
}
