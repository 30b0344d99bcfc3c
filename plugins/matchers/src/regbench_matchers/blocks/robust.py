"""The last step of every keypoint method: a robust homography of its correspondences, by MAGSAC++."""

from __future__ import annotations

from math import lgamma, log, log10, pi
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench import ComponentConfig, Matches

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]


class RobustConfig(ComponentConfig):
    """Settings of the robust estimator, which every method that matches points has."""

    threshold: float = Field(3.0, gt=0, description="largest reprojection error of an inlier, px")
    iterations: int = Field(2000, ge=1, description="of the robust estimator")


class Solution(NamedTuple):
    """A homography ``(3, 3)`` of source pixels to target pixels, and the matches it was computed from."""

    homography: Matrix
    matches: Matches

    @property
    def inliers(self) -> int:
        """Number of matches that agree with the homography."""
        return int(self.matches.inliers.sum())


def robust_homography(source: Points, target: Points, config: RobustConfig) -> Solution | None:
    """Homography of correspondences by USAC_MAGSAC (Barath et al., CVPR 2020), at confidence 0.999.

    Args:
        source: ``(N, 2)`` pixels, x then y.
        target: ``(N, 2)`` pixels, matched with ``source`` row by row.
        config: threshold and iterations.

    Returns:
        The homography and the matches; None for fewer than four correspondences or if there is no homography.
    """
    if len(source) < 4:
        return None
    # OpenCV draws samples from a global generator: seeded, the result of a pair does not depend on earlier pairs.
    cv2.setRNGSeed(0)
    homography, inliers = cv2.findHomography(
        source, target, cv2.USAC_MAGSAC, config.threshold, maxIters=config.iterations, confidence=0.999
    )
    if homography is None:
        return None
    return Solution(homography.astype(np.float64), Matches(source, target, inliers.ravel() > 0))


def expected_by_chance(inliers: int, matches: int, threshold: float, size: tuple[int, int]) -> float:
    """Decimal logarithm of the expected number of homographies that have as many inliers among random matches.

    This is the number of false alarms of Moisan and Stival (IJCV 2004) for homographies,
    ``(N - 4) C(N, k) C(k, 4) p^(k - 4)``. Four matches define a homography. A further random match lies within
    ``threshold`` of its prediction with probability p, the area of that disc relative to the image. If the logarithm is
    below zero, chance does not explain the inliers.

    Args:
        inliers: k, the number of inliers of the homography.
        matches: N, the number of all matches.
        threshold: largest reprojection error of an inlier, px.
        size: height and width of the target, px.
    """
    if inliers <= 4 or matches <= 4:
        return float("inf")
    p = min(pi * threshold**2 / (size[0] * size[1]), 1.0)
    tests = log10(matches - 4) + (_log_binomial(matches, inliers) + _log_binomial(inliers, 4)) / log(10)
    return tests + (inliers - 4) * log10(p)


def _log_binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
