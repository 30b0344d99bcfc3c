"""The presets of every matcher: other sizes than the defaults of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Presets = Mapping[str, Mapping[str, Any]]

REDFEAT_PRESETS: Presets = {
    "hour": {"width": 2, "dim": 64, "samples": 1024},
    "quick": {"width": 1, "dim": 32, "samples": 512},
    "smoke": {"width": 1, "dim": 16, "samples": 128},
    "tiny": {"width": 1, "dim": 8, "samples": 64},
}

RIFT_PRESETS: Presets = {
    "published": {"patches": (96,), "features": 5000, "moment": "maximum", "mutual": False, "inliers": 4},
}
