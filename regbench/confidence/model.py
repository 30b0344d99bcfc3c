"""The confidence of an answer: a logistic model over its features, calibrated on real pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regbench.api.types import Matches
from regbench.confidence.calibration import MODEL
from regbench.confidence.features import measure


@dataclass(frozen=True)
class Confidence:
    """How sure one can be of an answer.

    Attributes:
        value: in [0, 1], the probability that the mean corner error is below 5 % of the target's diagonal, as
            calibrated in ``docs/confidence.md``; 0 where nothing can support the answer.
        parts: the features it was computed from, by name, the more the better; where there are none, the reason with
            the value 1 (``no answer``, ``implausible``, ``flat``, ``too small``).
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


def assess(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    homography: NDArray[np.float64] | None,
    *,
    matches: Matches | None = None,
    reverse: NDArray[np.float64] | None = None,
    other: NDArray[np.float64] | None = None,
) -> Confidence:
    """Confidence in a homography between two images.

    Args:
        source: ``(H, W)`` or ``(H, W, C)`` in [0, 1]; pixels that are not finite count as missing.
        target: likewise, of any size.
        homography: ``(3, 3)``, source pixels to target pixels; None where a method found none.
        matches: the points it was computed from, where the method matches points.
        reverse: the homography that the same method estimates from target to source.
        other: the homography of a second method of another kind, source to target.

    Raises:
        ValueError: an image is neither two- nor three-dimensional.
    """
    for name, image in (("source", source), ("target", target)):
        if image.ndim not in (2, 3):
            raise ValueError(f"{name} must be (H, W) or (H, W, C), got {image.shape}")
    features, why = measure(source, target, homography, matches=matches, reverse=reverse, other=other)
    if not features:
        return Confidence(0.0, {why: 1.0})
    return Confidence(MODEL(features), features)
