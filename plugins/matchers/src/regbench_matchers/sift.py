"""SIFT with the ratio test and a robust homography, by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field
from torch import Tensor

from regbench import ComponentConfig, PairInfo, Registration, Registrator
from regbench_matchers._opencv import Grey, Matrix, register_each


class SIFTConfig(ComponentConfig):
    """Defaults are Lowe's and OpenCV's; the contrast threshold is lowered for small patches."""

    features: int = Field(0, ge=0, description="strongest keypoints kept; 0 keeps all")
    contrast: float = Field(0.02, gt=0, description="contrast threshold of a keypoint (OpenCV's default is 0.04)")
    ratio: float = Field(0.8, gt=0, lt=1, description="largest ratio of first to second distance")
    threshold: float = Field(3.0, gt=0, description="largest reprojection error of an inlier, px")
    iterations: int = Field(2000, ge=1, description="of the robust estimator")


class SIFT(Registrator):
    """Keypoints of both images, nearest neighbours that pass the ratio test, homography by USAC_MAGSAC.

    A pair fails when fewer than four matches survive, no homography is found, or it folds the source.
    """

    Config = SIFTConfig
    any_size = True

    def __init__(self, config: SIFTConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.config = config
        self._sift = cv2.SIFT_create(nfeatures=config.features, contrastThreshold=config.contrast)
        self._matcher = cv2.BFMatcher(cv2.NORM_L2)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels; ``ok`` says where an answer was found."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Matrix | None:
        points_s, found_s = self._sift.detectAndCompute(source, None)
        points_t, found_t = self._sift.detectAndCompute(target, None)
        if found_s is None or found_t is None or len(points_s) < 4 or len(points_t) < 4:
            return None
        matches = [
            pair[0]
            for pair in self._matcher.knnMatch(found_s, found_t, k=2)
            if len(pair) == 2 and pair[0].distance < self.config.ratio * pair[1].distance
        ]
        if len(matches) < 4:
            return None
        from_ = np.array([points_s[m.queryIdx].pt for m in matches], np.float64)
        to = np.array([points_t[m.trainIdx].pt for m in matches], np.float64)
        # OpenCV draws its samples from a global generator: the answer for a pair must not depend on pairs before it.
        cv2.setRNGSeed(0)
        found, _ = cv2.findHomography(
            from_, to, cv2.USAC_MAGSAC, self.config.threshold, maxIters=self.config.iterations, confidence=0.999
        )
        return None if found is None else found.astype(np.float64)
