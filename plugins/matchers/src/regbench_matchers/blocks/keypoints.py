"""Base of OpenCV's keypoint methods: detect, describe, match and solve, one pair of grey images at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from regbench import PairInfo, Registration, Registrator
from regbench_matchers.blocks.nearest import Distances, match
from regbench_matchers.blocks.opencv import Grey, register_each
from regbench_matchers.blocks.robust import RobustConfig, Solution, robust_homography

_LEAST = 8
"""Side of an image, px, below which no four keypoints can be told apart; OpenCV's pyramids fail on a pixel or two."""


class KeypointMatcher(Registrator):
    """Keypoints of both images, nearest neighbours, a robust homography.

    A pair fails if fewer than four matches pass the tests, if the homography has too few inliers or does not exist, or
    if it folds the source.

    Args:
        config: settings, at least of the robust estimator.
        info: facts of the pairs.
        detector: of OpenCV, with ``detectAndCompute``.
        distances: from source and target descriptors ``(N, D)``, ``(M, D)`` to their distances ``(N, M)``.
        ratio: largest ratio of first to second distance; 1 allows all.
        mutual: keep only pairs that are each other's nearest.
        inliers: a pair with fewer fails.
    """

    any_size = True
    config: RobustConfig

    def __init__(
        self,
        config: RobustConfig,
        info: PairInfo,
        detector: Any,
        distances: Callable[[Any, Any], Distances],
        *,
        ratio: float = 1.0,
        mutual: bool = False,
        inliers: int = 4,
    ) -> None:
        super().__init__(config, info)
        self._detector, self._distances = detector, distances
        self._ratio, self._mutual, self._inliers = ratio, mutual, inliers

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False for pairs without a homography."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Solution | None:
        if min(*source.shape, *target.shape) < _LEAST:
            return None
        keypoints_s, descriptors_s = self._detector.detectAndCompute(source, None)
        keypoints_t, descriptors_t = self._detector.detectAndCompute(target, None)
        if descriptors_s is None or descriptors_t is None:
            return None
        i, j = match(descriptors_s, descriptors_t, self._distances, ratio=self._ratio, mutual=self._mutual)
        points_s = np.array([keypoints_s[k].pt for k in i], np.float64).reshape(-1, 2)
        points_t = np.array([keypoints_t[k].pt for k in j], np.float64).reshape(-1, 2)
        solution = robust_homography(points_s, points_t, self.config)
        return solution if solution is not None and solution.inliers >= self._inliers else None
