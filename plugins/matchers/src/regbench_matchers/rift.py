"""RIFT and RIFT2: keypoints on phase congruency, described by histograms of the maximum index map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from regbench import Matches, Registration, Registrator
from regbench.ops.log_gabor import PAD
from regbench.ops.phase_congruency import phase_congruency
from regbench_matchers.blocks.index_map import histograms, main_orientations
from regbench_matchers.blocks.nearest import euclidean, match
from regbench_matchers.blocks.opencv import Grey, Matrix, register_each
from regbench_matchers.blocks.robust import Points, RobustConfig, Solution, robust_homography
from regbench_matchers.presets import RIFT_PRESETS

_BORDER = 4  # px at the rim without keypoints: FAST looks 3 px around


class RIFTConfig(RobustConfig):
    """Bank and descriptor are the paper's; patches, keypoints and passes were chosen for images of 64 and 128 px."""

    patches: tuple[int, ...] = Field(
        (48, 48, 36, 30), min_length=1, description="side of the described patch in each pass, px"
    )
    cells: int = Field(6, ge=1, description="of the descriptor, along a side")
    scales: int = Field(4, ge=2, description="of the log-Gabor bank")
    orientations: int = Field(6, ge=3, description="of the log-Gabor bank, and bins of the descriptor")
    moment: Literal["maximum", "minimum", "both"] = Field(
        "both", description="moment on which FAST looks for keypoints: maximum (edges), minimum (corners) or both"
    )
    features: int = Field(500, ge=4, description="strongest keypoints kept of each moment")
    rotation: bool = Field(False, description="RIFT2: rotate each patch to its main orientation and shift its indices")
    ratio: float = Field(1.0, gt=0, le=1, description="largest ratio of first to second distance; 1 allows all")
    mutual: bool = Field(True, description="keep only pairs that are each other's nearest")
    inliers: int = Field(6, ge=4, description="a pair with fewer inliers in the last pass fails")

    presets = RIFT_PRESETS

    @field_validator("patches")
    @classmethod
    def _positive(cls, patches: tuple[int, ...]) -> tuple[int, ...]:
        if min(patches) < 6:
            raise ValueError("a patch needs a side of at least 6 px")
        return patches


@dataclass(frozen=True)
class _Detection:
    """Keypoints ``(N, 2)`` of an image, and the maps ``(H, W)`` from which they are described."""

    points: Points
    maximum: Tensor
    index: Tensor


class RIFT(Registrator):
    """Radiation-variation insensitive matching (Li, Hu and Ai, TIP 2020), and RIFT2 (Li et al., 2023).

    Keypoints are FAST corners of the maximum moment (edges) and of the minimum moment (corners) of phase congruency. A
    descriptor has 6 x 6 cells, each a histogram of the maximum index map, which says which of six orientations is
    strongest. Nearest neighbours are matched, and USAC_MAGSAC gives the homography.

    With ``rotation`` (RIFT2) a patch is rotated to the main orientations of the maximum moment's gradient, and its
    indices are shifted cyclically so that the most frequent one comes first. Without it, the descriptor is upright, as
    in the code published for RIFT.

    Two things differ from the paper; both were chosen on training pairs of VEDAI and OSdataset. First, its patch of
    96 px does not fit into images of 64 px: patches are smaller here, and a descriptor may reach over the rim, where
    nothing votes (the authors drop such keypoints). Second, the descriptor is not invariant to scale and perspective:
    matching is repeated, with smaller patches, on the source warped by the last estimate. ``preset=published`` is one
    pass at the published size; ``rotation`` is off because pairs are nearly upright.
    """

    Config = RIFTConfig
    config: RIFTConfig
    any_size = True

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False for pairs without a homography."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Solution | None:
        if min(*source.shape, *target.shape) <= PAD:  # cannot be mirrored that far, and too small for a descriptor
            return None
        homography, found = np.eye(3), None
        target_detection = self._detect(target)
        target_features: dict[int, tuple[Points, NDArray[np.float32]]] = {}  # by patch size
        for turn, patch in enumerate(self.config.patches):
            warped = source if turn == 0 else _warped(source, homography, target)
            points_s, descriptors_s = self._describe(self._detect(warped), patch)
            if patch not in target_features:
                target_features[patch] = self._describe(target_detection, patch)
            points_t, descriptors_t = target_features[patch]
            if turn > 0:  # keypoints beyond the source's rim lie on reflected pixels
                kept = _inside(points_s, homography, source)
                points_s, descriptors_s = points_s[kept], descriptors_s[kept]
            i, j = match(descriptors_s, descriptors_t, euclidean, ratio=self.config.ratio, mutual=self.config.mutual)
            solution = robust_homography(points_s[i], points_t[j], self.config)
            if solution is None:
                return None
            before, homography = homography, solution.homography @ homography
            if not _usable(homography, source):
                return None
            found = Solution(homography, _on_source(solution.matches, before))
        return found if found is not None and found.inliers >= self.config.inliers else None

    def _detect(self, image: Grey) -> _Detection:
        with torch.inference_mode():
            grey = torch.from_numpy(image)[None, None] / 255.0
            maps = phase_congruency(grey, self.config.scales, self.config.orientations)
        moments = [
            m
            for kind, m in (("maximum", maps.maximum), ("minimum", maps.minimum))
            if self.config.moment in (kind, "both")
        ]
        points = np.concatenate([_corners(m[0, 0].numpy(), self.config.features) for m in moments])
        return _Detection(np.unique(points, axis=0), maps.maximum[0, 0], maps.amplitude[0].max(dim=0).indices)

    def _describe(self, detection: _Detection, patch: int) -> tuple[Points, NDArray[np.float32]]:
        points, angle = torch.from_numpy(detection.points), None
        if self.config.rotation:
            which, angle = main_orientations(detection.maximum, points, patch)
            points = points[which]
        descriptors = histograms(detection.index, points, patch, self.config.cells, self.config.orientations, angle)
        return points.numpy(), descriptors.numpy()


def _corners(moment: NDArray[np.float32], count: int) -> Points:
    """The ``count`` strongest FAST corners ``(N, 2)`` of a map, scaled to its own range."""
    low, high = moment.min(), moment.max()
    if not high > low:
        return np.empty((0, 2))
    grey = np.round((moment - low) * (255.0 / (high - low))).astype(np.uint8)
    keypoints = cv2.FastFeatureDetector.create(threshold=1, nonmaxSuppression=True).detect(grey)
    points = np.array(cv2.KeyPoint.convert(keypoints), np.float64).reshape(-1, 2)
    inner = ((points >= _BORDER) & (points < np.array(grey.shape[::-1]) - _BORDER)).all(axis=1)
    strength = np.array([k.response for k in keypoints])[inner]
    return points[inner][np.argsort(-strength, kind="stable")[:count]]


def _warped(source: Grey, homography: Matrix, target: Grey) -> Grey:
    size = (target.shape[1], target.shape[0])
    return np.asarray(cv2.warpPerspective(source, homography, size, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _inside(points: Points, homography: Matrix, source: Grey) -> NDArray[np.bool_]:
    """Which points of the warped source come from inside the source."""
    if len(points) == 0:
        return np.empty(0, bool)
    back = cv2.perspectiveTransform(points[None], np.linalg.inv(homography))[0]
    return np.asarray(((back >= 0) & (back <= np.array(source.shape[::-1]) - 1)).all(axis=1))


def _on_source(matches: Matches, homography: Matrix) -> Matches:
    """Matches of the source warped by a homography as matches of the source itself."""
    points = cv2.perspectiveTransform(matches.source[None], np.linalg.inv(homography))[0]
    return Matches(points, matches.target, matches.inliers)


def _usable(homography: Matrix, source: Grey) -> bool:
    """Whether it is invertible and moves no corner by more than the source's longer side, so that a pass can use it."""
    h, w = source.shape
    corners = np.array([[0, 0, 1], [w - 1, 0, 1], [0, h - 1, 1], [w - 1, h - 1, 1]], np.float64)
    moved = corners @ homography.T
    if not np.isfinite(moved).all() or (moved[:, 2] * moved[0, 2] <= 0).any():
        return False
    shift = moved[:, :2] / moved[:, 2:] - corners[:, :2]
    return bool(np.abs(shift).max() <= max(h, w)) and abs(np.linalg.det(homography / homography[2, 2])) > 1e-3
