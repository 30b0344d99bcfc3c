"""Which methods ``auto`` tries, in which order, and why."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from regbench.plugins.registry import registry

BUNDLED = "network.safetensors"
"""Weights of a small network in this package, where a release has one."""


class Choice(NamedTuple):
    """A method of ``auto``."""

    method: str
    why: str


ORDER = (
    Choice("sift", "exact and fast where modalities look alike, at any scale; fails on 49 % of the VEDAI pairs"),
    Choice(
        "edge-search", "no keypoints, a second at any size: radar and depth beside photographs; on no board of ours"
    ),
    Choice("rift", "the best of the board's matchers: 0.24 x identity on VEDAI, 7.5 % failures; 51 % on OSdataset"),
    Choice("vismatch:minima-roma", "trained across modalities; on no board of ours"),
    Choice("vismatch:xoftr", "trained across visible and thermal; on no board of ours"),
    Choice("rift2", "RIFT for turned images: 0.45 x identity on VEDAI, 30 % failures"),
)
"""Evidence: ``leaderboards/matchers-full.md``; for edge search ``docs/align.md``.

ORB, ECC and phase correlation are not tried: none is better than doing nothing on OSdataset, and all answer VEDAI worse
than RIFT does.
"""


def choices() -> list[Choice]:
    """The methods that are installed, in the order in which they are tried."""
    bundled = bundled_weights()
    first = [] if bundled is None else [Choice(str(bundled), "the network of this package")]
    return first + [choice for choice in ORDER if registry().find("registrator", choice.method) is not None]


def bundled_weights() -> Path | None:
    """The weights file of this package; None where it has none."""
    path = Path(str(files("regbench.alignment") / BUNDLED))
    return path if path.is_file() else None
