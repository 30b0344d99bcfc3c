"""SIFT with the ratio test and a robust homography, by OpenCV."""

from __future__ import annotations

import cv2
from pydantic import Field

from regbench import PairInfo
from regbench_matchers.blocks.keypoints import KeypointMatcher
from regbench_matchers.blocks.nearest import euclidean
from regbench_matchers.blocks.robust import RobustConfig


class SIFTConfig(RobustConfig):
    """The defaults are Lowe's and OpenCV's; the contrast threshold is lowered for small patches."""

    features: int = Field(0, ge=0, description="strongest keypoints kept; 0 keeps all")
    contrast: float = Field(0.02, gt=0, description="contrast threshold of a keypoint (OpenCV's default is 0.04)")
    ratio: float = Field(0.8, gt=0, lt=1, description="largest ratio of first to second distance")


class SIFT(KeypointMatcher):
    """SIFT (Lowe, IJCV 2004): nearest neighbours that pass the ratio test, homography by USAC_MAGSAC."""

    Config = SIFTConfig
    any_scale = True

    def __init__(self, config: SIFTConfig, info: PairInfo) -> None:
        detector = cv2.SIFT.create(nfeatures=config.features, contrastThreshold=config.contrast)
        super().__init__(config, info, detector, euclidean, ratio=config.ratio)
