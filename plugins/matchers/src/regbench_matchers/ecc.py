"""ECC: a homography that maximises the enhanced correlation coefficient, by OpenCV, coarse to fine."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field, field_validator
from torch import Tensor

from regbench import ComponentConfig, PairInfo, Registration, Registrator
from regbench_matchers.blocks.opencv import Grey, Matrix, register_each

_SMALLEST = 16  # px along a side of the coarsest level


class ECCConfig(ComponentConfig):
    """Defaults converge on mono-modal pairs whose corners move by up to about an eighth of the side."""

    levels: int = Field(3, ge=1, description="of the Gaussian pyramid, the image included; 1 starts at full size")
    iterations: int = Field(100, ge=1, description="per level")
    epsilon: float = Field(1e-5, gt=0, description="smallest gain in correlation that goes on")
    blur: int = Field(5, ge=1, description="side of the Gaussian filter OpenCV applies first, px; odd")
    correlation: float = Field(0.0, ge=-1, lt=1, description="a final coefficient not above this is a failure")
    reach: float = Field(0.5, gt=0, description="a corner that moves by more sides of the source is a failure")

    @field_validator("blur")
    @classmethod
    def _odd(cls, blur: int) -> int:
        if blur % 2 == 0:
            raise ValueError("must be odd")
        return blur


class ECC(Registrator):
    """Forward additive ECC (Evangelidis and Psarakis, PAMI 2008) of grey images, started from the identity.

    The coarse levels of the pyramid estimate a translation only, where the next one starts: eight unknowns of so few
    pixels would move the start away as often as closer.

    The source is OpenCV's template: its warp matrix takes template pixels to input pixels, which is our direction.
    A pair fails when an iteration at full size does not converge (flat or uncorrelated images) or the answer folds
    the source or throws a corner far away, as diverged iterations do; a coarser level that does not converge only
    leaves the start as it was.
    """

    Config = ECCConfig
    any_size = True

    def __init__(self, config: ECCConfig, info: PairInfo) -> None:
        super().__init__(config, info)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels; ``ok`` says where it converged."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Matrix | None:
        pyramid = [(source, target)]
        while len(pyramid) < self.config.levels and min(*pyramid[-1][0].shape, *pyramid[-1][1].shape) >= 2 * _SMALLEST:
            pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, self.config.iterations, self.config.epsilon)
        found = np.eye(3)
        for level in range(len(pyramid) - 1, -1, -1):
            # pyrDown keeps every second pixel, the first included: coordinates are halved, without an offset.
            scale = np.diag([2.0**-level, 2.0**-level, 1.0])
            start = (scale @ found @ np.linalg.inv(scale)).astype(np.float32)
            start, motion = (start, cv2.MOTION_HOMOGRAPHY) if level == 0 else (start[:2], cv2.MOTION_TRANSLATION)
            try:
                correlation, moved = cv2.findTransformECC(
                    *pyramid[level], start, motion, criteria, np.ones_like(pyramid[level][1]), self.config.blur
                )
            except cv2.error:  # "did not converge": uncorrelated, or moved out of each other
                if level == 0:
                    return None
                continue
            if np.isfinite(moved).all():
                moved = np.vstack([moved, [0.0, 0.0, 1.0]])[:3].astype(np.float64)
                found = np.linalg.inv(scale) @ (moved / moved[2, 2]) @ scale
        return found if correlation > self.config.correlation and self._near(found, source.shape) else None

    def _near(self, found: Matrix, size: tuple[int, ...]) -> bool:
        h, w = size
        corners = np.array([[[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]]], np.float64)
        return bool(np.abs(cv2.perspectiveTransform(corners, found) - corners).max() <= self.config.reach * max(h, w))


def _halved(image: Grey) -> Grey:
    return np.asarray(cv2.pyrDown(image), np.uint8)
