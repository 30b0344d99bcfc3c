"""The robust step every keypoint method ends with: a homography of correspondences by MAGSAC++."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regbench import ComponentConfig
from regbench_matchers._opencv import Matrix

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
