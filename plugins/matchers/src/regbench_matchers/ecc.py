"""ECC: the homography that maximises the enhanced correlation coefficient (OpenCV), coarse to fine."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field, field_validator
from torch import Tensor

from regbench import ComponentConfig, Registration, Registrator
from regbench_matchers.blocks.opencv import Grey, Matrix, register_each

_SMALLEST = 16  # px along a side of the coarsest level


class ECCConfig(ComponentConfig):
    """The defaults converge on mono-modal pairs whose corners move by up to about an eighth of the side."""

    levels: int = Field(3, ge=1, description="of the Gaussian pyramid, the full image included; 1 starts at full size")
    iterations: int = Field(100, ge=1, description="per level")
    epsilon: float = Field(1e-5, gt=0, description="iterations stop below this gain in correlation")
    blur: int = Field(5, ge=1, description="side of the Gaussian filter that OpenCV applies first, px; odd")
    correlation: float = Field(0.0, ge=-1, lt=1, description="a pair fails unless its final coefficient exceeds this")
    reach: float = Field(
        0.5, gt=0, description="a pair fails if a corner moves by more than this share of the source's longer side"
    )

    @field_validator("blur")
    @classmethod
    def _odd(cls, blur: int) -> int:
        if blur % 2 == 0:
            raise ValueError("must be odd")
        return blur


class ECC(Registrator):
    """Forward additive ECC (Evangelidis and Psarakis, PAMI 2008) of grey images, started from the identity.

    The coarse levels of the pyramid estimate only a translation, from which the next level starts: estimating eight
    unknowns from so few pixels would move the start away from the answer as often as towards it.

    The source is OpenCV's template, because OpenCV's warp matrix maps template pixels to input pixels. A pair fails if
    the iterations at full size do not converge (flat or uncorrelated images), or if the homography folds the source or
    moves a corner far away, as diverged iterations do. A coarser level that does not converge keeps the start.
    """

    Config = ECCConfig
    config: ECCConfig
    any_size = True

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False for pairs that fail."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Matrix | None:
        pyramid = [(source, target)]
        while len(pyramid) < self.config.levels and min(*pyramid[-1][0].shape, *pyramid[-1][1].shape) >= 2 * _SMALLEST:
            pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, self.config.iterations, self.config.epsilon)
        homography = np.eye(3)
        for level in range(len(pyramid) - 1, -1, -1):
            # pyrDown keeps every second pixel from the first on: coordinates are halved, without an offset.
            scale = np.diag([2.0**-level, 2.0**-level, 1.0])
            start = (scale @ homography @ np.linalg.inv(scale)).astype(np.float32)
            start, motion = (start, cv2.MOTION_HOMOGRAPHY) if level == 0 else (start[:2], cv2.MOTION_TRANSLATION)
            try:
                correlation, moved = cv2.findTransformECC(
                    *pyramid[level], start, motion, criteria, np.ones_like(pyramid[level][1]), self.config.blur
                )
            except cv2.error:  # no convergence: the images are uncorrelated or no longer overlap
                if level == 0:
                    return None
                continue
            if np.isfinite(moved).all():
                moved = np.vstack([moved, [0.0, 0.0, 1.0]])[:3].astype(np.float64)
                homography = np.linalg.inv(scale) @ (moved / moved[2, 2]) @ scale
        accepted = correlation > self.config.correlation and self._near(homography, source.shape)
        return homography if accepted else None

    def _near(self, homography: Matrix, size: tuple[int, ...]) -> bool:
        """Whether no corner of the source moves farther than ``reach``."""
        h, w = size
        corners = np.array([[[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]]], np.float64)
        return bool(
            np.abs(cv2.perspectiveTransform(corners, homography) - corners).max() <= self.config.reach * max(h, w)
        )


def _halved(image: Grey) -> Grey:
    return np.asarray(cv2.pyrDown(image), np.uint8)
