"""What an alignment is made of: matched points, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regbench.api.types import Matches as Matches

Matrix = NDArray[np.float64]
"""``(3, 3)``, source pixels to target pixels, H[2, 2] = 1."""


@dataclass(frozen=True)
class Alignment:
    """How a source image lies on a target image.

    Attributes:
        homography: ``(3, 3)`` float64 of source pixels to target pixels of the whole images, H[2, 2] = 1; pixel centres
            at whole numbers, x then y. The identity where ``ok`` is False.
        ok: whether the method found an answer. It says nothing of its quality: ``confidence`` does.
        confidence: in [0, 1]; 0 where ``ok`` is False.
        confidence_parts: what it was computed from, by name.
        method: name of the method that answered.
        matches: points the method matched, in pixels of the whole images; None where it matches none.
    """

    homography: Matrix
    ok: bool
    confidence: float
    confidence_parts: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    matches: Matches | None = None

    @property
    def inliers(self) -> int | None:
        """Matches that agree with the homography; None where the method has no matches."""
        return None if self.matches is None else int(self.matches.inliers.sum())
