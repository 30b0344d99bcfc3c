"""How sure one can be of a homography: its shape, and the edges it lays on each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from regbench import geometry
from regbench.alignment.types import Matches
from regbench.ops.edges import edge_agreement, edge_field

Image = NDArray[np.float32]

MOST_SCALE = 12.0
"""Largest change of scale, either way, that is believed."""
LEAST_OVERLAP = 0.05
"""Least share of the smaller image that both show."""
_RIM = 5  # px around what both show, where a warped image has edges of its own


@dataclass(frozen=True)
class Confidence:
    """How sure one can be.

    Attributes:
        value: in [0, 1].
        parts: what it was computed from, by name.
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


def assess(
    source: Image,
    target: Image,
    homography: NDArray[np.float64] | None,
    *,
    matches: Matches | None = None,
    reverse: NDArray[np.float64] | None = None,
    other: NDArray[np.float64] | None = None,
) -> Confidence:
    """Confidence in a homography between two images.

    Args:
        source: ``(H, W)`` or ``(H, W, C)`` in [0, 1].
        target: likewise, of any size.
        homography: source pixels to target pixels; None where a method found none.
        matches: the points it was computed from.
        reverse: the homography that the same method estimates from target to source.
        other: the homography of a second method, source to target.

    Returns:
        Value and parts: ``plausible`` (0 or 1: the source is not folded, scaled or moved out of sight) and
        ``edge_agreement`` in [-1, 1] where both images are visible.
    """
    if homography is None or not _plausible(homography, source.shape[:2], target.shape[:2]):
        return Confidence(0.0, {"plausible": 0.0, "edge_agreement": 0.0})
    agreement = _edges(source, target, homography)
    return Confidence(float(np.clip(agreement / 0.4, 0, 1)), {"plausible": 1.0, "edge_agreement": agreement})


def _plausible(homography: NDArray[np.float64], source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether the source is laid upright or turned, unfolded, at a likely scale, over part of the target."""
    if not np.isfinite(homography).all():
        return False
    size = (source[0], source[1])
    moved = geometry.displacement_from_homography(torch.from_numpy(homography)[None], size)
    if not moved.isfinite().all() or not geometry.is_convex(moved, size).all():
        return False
    quad = (moved[0] + geometry.corners(size, dtype=moved.dtype)).numpy()[[0, 1, 3, 2]]
    area = 0.5 * abs(np.sum(quad[:, 0] * np.roll(quad[:, 1], -1) - quad[:, 1] * np.roll(quad[:, 0], -1)))
    scale = np.sqrt(area / ((source[0] - 1) * (source[1] - 1)))
    return bool(1 / MOST_SCALE < scale < MOST_SCALE)


def _edges(source: Image, target: Image, homography: NDArray[np.float64]) -> float:
    """Edge agreement on the target's grid; 0 where the images hardly overlap."""
    moving, fixed = (torch.from_numpy(np.atleast_3d(x).transpose(2, 0, 1)[None].copy()) for x in (source, target))
    size, back = (fixed.shape[-2], fixed.shape[-1]), geometry.invert(torch.from_numpy(homography)[None]).float()
    hidden = 1 - geometry.inside(back, size, (moving.shape[-2], moving.shape[-1]))
    visible = 1 - torch.nn.functional.max_pool2d(hidden, 2 * _RIM + 1, 1, _RIM)
    if visible.sum() < LEAST_OVERLAP * min(fixed[0, 0].numel(), moving[0, 0].numel()):
        return 0.0
    laid = geometry.sample(moving, back, size)
    return float(edge_agreement(edge_field(laid), edge_field(fixed), visible)[0])
