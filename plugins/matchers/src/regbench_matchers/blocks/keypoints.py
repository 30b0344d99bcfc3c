"""Detect, describe, match, solve: the path of OpenCV's keypoint methods, one pair of grey images at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from regbench import PairInfo, Registration, Registrator
from regbench_matchers.blocks.nearest import Distances, nearest
from regbench_matchers.blocks.opencv import Grey, Matrix, register_each
from regbench_matchers.blocks.robust import RobustConfig, robust_homography


class KeypointMatcher(Registrator):
    """Keypoints of both images, nearest neighbours, a robust homography.

    A pair fails when fewer than four matches survive, no homography is found or one of too few inliers, or it folds
    the source. A subclass hands over a detector of OpenCV, the distance of its descriptors, and how neighbours are
    tested.
    """

    any_size = True

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
        """One iteration, ``(1, B, 4, 2)`` pixels; ``ok`` says where an answer was found."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Matrix | None:
        points_s, found_s = self._detector.detectAndCompute(source, None)
        points_t, found_t = self._detector.detectAndCompute(target, None)
        if found_s is None or found_t is None:
            return None
        i, j = nearest(self._distances(found_s, found_t), ratio=self._ratio, mutual=self._mutual)
        from_ = np.array([points_s[k].pt for k in i], np.float64).reshape(-1, 2)
        to = np.array([points_t[k].pt for k in j], np.float64).reshape(-1, 2)
        solved = robust_homography(from_, to, self.config)
        return solved[0] if solved is not None and solved[1] >= self._inliers else None
