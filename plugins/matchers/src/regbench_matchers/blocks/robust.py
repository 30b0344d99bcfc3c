"""The robust step every keypoint method ends with: a homography of correspondences by MAGSAC++."""

from __future__ import annotations

from math import lgamma, log, log10, pi

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench import ComponentConfig
from regbench_matchers.blocks.opencv import Matrix

Points = NDArray[np.float64]


class RobustConfig(ComponentConfig):
    """Settings of the robust estimator, shared by all that match points."""

    threshold: float = Field(3.0, gt=0, description="largest reprojection error of an inlier, px")
    iterations: int = Field(2000, ge=1, description="of the robust estimator")


def robust_homography(source: Points, target: Points, config: RobustConfig) -> tuple[Matrix, int] | None:
    """Homography of correspondences by USAC_MAGSAC (Barath et al., CVPR 2020), at confidence 0.999.

    Args:
        source: ``(N, 2)`` pixels, x then y.
        target: ``(N, 2)``, the point each of them was matched with.
        config: threshold and iterations.

    Returns:
        The ``(3, 3)`` map of source pixels to target pixels and the number of its inliers; None for fewer than four
        correspondences or where no homography is found.
    """
    if len(source) < 4:
        return None
    # OpenCV draws its samples from a global generator: the answer for a pair must not depend on pairs before it.
    cv2.setRNGSeed(0)
    found, inliers = cv2.findHomography(
        source, target, cv2.USAC_MAGSAC, config.threshold, maxIters=config.iterations, confidence=0.999
    )
    return None if found is None else (found.astype(np.float64), int(inliers.sum()))


def expected_by_chance(inliers: int, matches: int, threshold: float, size: tuple[int, int]) -> float:
    """Decimal logarithm of how many homographies agree as well with matches thrown at random.

    The number of false alarms of Moisan and Stival (IJCV 2004) for homographies: four matches make a hypothesis, any
    other lies within ``threshold`` of where that puts it with the probability of a disc in the image,
    ``(N - 4) C(N, k) C(k, 4) p^(k - 4)``. Below zero, chance is no explanation.

    Args:
        inliers: k, of the homography.
        matches: N, all of them.
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
