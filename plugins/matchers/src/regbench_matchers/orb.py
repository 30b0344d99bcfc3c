"""ORB with cross-checked Hamming neighbours and a robust homography, by OpenCV."""

from __future__ import annotations

import cv2
from pydantic import Field

from regbench import PairInfo
from regbench_matchers.blocks.keypoints import KeypointMatcher
from regbench_matchers.blocks.nearest import hamming
from regbench_matchers.blocks.robust import RobustConfig


class ORBConfig(RobustConfig):
    """The defaults are OpenCV's, except border and FAST threshold, which are lowered for small patches."""

    features: int = Field(1000, ge=1, description="strongest keypoints kept")
    levels: int = Field(8, ge=1, description="of the pyramid, each smaller by a factor of 1.2")
    border: int = Field(
        8, ge=1, description="px at the rim without keypoints (OpenCV: 31, which empties a 64 px patch)"
    )
    contrast: int = Field(7, ge=1, le=255, description="threshold of FAST in grey levels (OpenCV's default is 20)")
    ratio: float = Field(1.0, gt=0, le=1, description="largest ratio of first to second distance; 1 allows all")
    mutual: bool = Field(True, description="keep only pairs that are each other's nearest (the cross-check)")
    inliers: int = Field(8, ge=4, description="a pair with fewer fails: binary descriptors of noise agree by chance")


class ORB(KeypointMatcher):
    """Oriented FAST corners with rotated BRIEF (Rublee et al., ICCV 2011), homography by USAC_MAGSAC.

    The descriptor has its published pattern of 31 px; where it reaches over the rim, OpenCV mirrors the image.
    """

    Config = ORBConfig

    def __init__(self, config: ORBConfig, info: PairInfo) -> None:
        detector = cv2.ORB.create(
            nfeatures=config.features,
            nlevels=config.levels,
            edgeThreshold=config.border,
            fastThreshold=config.contrast,
        )
        super().__init__(
            config, info, detector, hamming, ratio=config.ratio, mutual=config.mutual, inliers=config.inliers
        )
