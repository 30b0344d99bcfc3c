"""The features of a pair and a homography, each so scaled that more of it speaks for the homography."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regbench.api.types import Matches
from regbench.confidence import evidence, shape
from regbench.confidence.laid import Matrix, Size, lay

IMAGES = (
    "edge_z",
    "edge_margin",
    "coarse_z",
    "coarse_margin",
    "tiles",
    "tile_share",
    "tile_spread",
    "information_z",
    "information_margin",
    "overlap",
    "even",
)
"""What every method can be asked for."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "matches": ("inliers", "inlier_share", "false_alarms", "inlier_spread"),
    "reverse": ("cycle",),
    "other": ("agreement",),
}
"""What is known besides, if something is, by the argument of :func:`regbench.confidence.model.assess`."""


def measure(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    homography: Matrix | None,
    *,
    matches: Matches | None = None,
    reverse: Matrix | None = None,
    other: Matrix | None = None,
) -> tuple[dict[str, float], str]:
    """The features of :data:`IMAGES` and of the :data:`GROUPS` that are given.

    Returns:
        Features by name, and why there are none (empty where there are). ``edge_agreement`` is told besides; it depends
        on the modalities, so no model has it.
    """
    if homography is None:
        return {}, "no answer"
    homography = np.asarray(homography, np.float64)
    sizes: list[Size] = [(x.shape[0], x.shape[1]) for x in (source, target)]
    if min(*sizes[0], *sizes[1]) < 2:
        return {}, "no image"
    outline = shape.shape_of(homography, *sizes)
    if not outline.plausible:
        return {}, "implausible"
    laid = lay(source, target, homography)
    if laid is None or laid.diagonal < evidence.LEAST_DIAGONAL:
        return {}, "too small"
    if evidence.contrast(laid) < evidence.FLAT:
        return {}, "flat"
    coarse = laid.halved()
    fine, blurred, local, told = (
        evidence.edges(laid),
        evidence.edges(coarse),
        evidence.tiles(laid),
        evidence.information(coarse),
    )
    found = {
        "edge_z": _squeezed(fine["z"]),
        "edge_margin": _squeezed(fine["margin"]),
        "coarse_z": _squeezed(blurred["z"]),
        "coarse_margin": _squeezed(blurred["margin"]),
        "tiles": float(np.log10(1 + local["log_nfa"])),
        "tile_share": local["share"],
        "tile_spread": local["spread"],
        "information_z": _squeezed(told["z"]),
        "information_margin": _squeezed(told["margin"]),
        "overlap": outline.overlap,
        "even": -outline.uneven,
        "edge_agreement": fine["agreement"],
    }
    if matches is not None:
        support = shape.supported(matches, homography, *sizes)
        found |= {
            "inliers": float(np.log10(1 + support["inliers"])),
            "inlier_share": support["share"],
            "false_alarms": float(np.log10(1 + max(0.0, support["log_nfa"]))),
            "inlier_spread": support["spread"],
        }
    if reverse is not None:
        found["cycle"] = shape.closeness(shape.cycle(homography, np.asarray(reverse, np.float64), sizes[0]))
    if other is not None:
        found["agreement"] = shape.closeness(shape.apart(homography, np.asarray(other, np.float64), *sizes))
    return found, ""


def _squeezed(z: float) -> float:
    """The inverse hyperbolic sine: linear near zero, logarithmic far away, where more hardly tells more."""
    return float(np.arcsinh(z))
