"""RIFT and RIFT2: keypoints on phase congruency, described by histograms of the maximum index map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from regbench import PairInfo, Registration, Registrator
from regbench.ops.phase_congruency import phase_congruency
from regbench_matchers.blocks.index_map import histograms, main_orientations
from regbench_matchers.blocks.nearest import euclidean, nearest
from regbench_matchers.blocks.opencv import Grey, Matrix, register_each
from regbench_matchers.blocks.robust import Points, RobustConfig, robust_homography

_BORDER = 4  # px at the rim without keypoints: FAST looks 3 px around


class RIFTConfig(RobustConfig):
    """Bank and descriptor are the paper's; patches, keypoints and passes were chosen for patches of 64 and 128 px."""

    patches: tuple[int, ...] = Field((48, 48, 36, 30), min_length=1, description="side described in each pass, px")
    cells: int = Field(6, ge=1, description="of the descriptor, along a side")
    scales: int = Field(4, ge=2, description="of the log-Gabor bank")
    orientations: int = Field(6, ge=3, description="of the log-Gabor bank, and bins of the descriptor")
    moment: Literal["maximum", "minimum", "both"] = Field("both", description="where FAST looks: edges, corners")
    features: int = Field(500, ge=4, description="strongest keypoints kept of each moment")
    rotation: bool = Field(False, description="RIFT2: turn each patch to its main orientation, shift its indices")
    ratio: float = Field(1.0, gt=0, le=1, description="largest ratio of first to second distance; 1 allows all")
    mutual: bool = Field(True, description="keep only pairs that are each other's nearest")
    inliers: int = Field(6, ge=4, description="fewer inliers in the last pass are a failure")

    presets: ClassVar = {
        "published": {"patches": (96,), "features": 5000, "moment": "maximum", "mutual": False, "inliers": 4},
    }

    @field_validator("patches")
    @classmethod
    def _positive(cls, patches: tuple[int, ...]) -> tuple[int, ...]:
        if min(patches) < 6:
            raise ValueError("sides below 6 px hold no cells")
        return patches


@dataclass(frozen=True)
class _Detected:
    """Keypoints ``(N, 2)`` of an image, with the maps ``(H, W)`` they are described by."""

    points: Points
    maximum: Tensor
    index: Tensor


class RIFT(Registrator):
    """Radiation-variation insensitive matching (Li, Hu and Ai, TIP 2020), and RIFT2 (Li et al., 2023).

    FAST corners of the maximum moment (edges) and of the minimum moment (corners) of phase congruency; a descriptor
    of 6 x 6 cells, each a histogram of the maximum index map (which of six orientations is strongest); nearest
    neighbours; a homography by USAC_MAGSAC. With ``rotation``, as RIFT2 does it, each patch is turned to the main
    orientations of the maximum moment's gradient, and its indices are shifted cyclically so that the most frequent
    one comes first; without it, as in the code the authors published for RIFT, the descriptor is upright.

    Differences from the paper. Its patch of 96 px leaves no room in patches of 64 px: the sides here are smaller, and
    a descriptor may reach over the rim, where nothing votes (the authors drop such keypoints). The described patch is
    not invariant to scale and perspective, so matching is repeated, with smaller patches, on the source warped by the
    answer so far. Both were chosen on training pairs of VEDAI and OSdataset. ``preset=published`` is one pass at the
    published size; ``rotation`` is off because pairs are nearly upright.
    """

    Config = RIFTConfig
    any_size = True

    def __init__(self, config: RIFTConfig, info: PairInfo) -> None:
        super().__init__(config, info)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels; ``ok`` says where an answer was found."""
        return register_each(source, target, self._estimate)

    def _estimate(self, source: Grey, target: Grey) -> Matrix | None:
        found, inliers = np.eye(3), 0
        detected = self._detect(target)
        wanted: dict[int, tuple[Points, NDArray[np.float32]]] = {}
        for turn, patch in enumerate(self.config.patches):
            moved = source if turn == 0 else _warped(source, found, target)
            points_s, described_s = self._describe(self._detect(moved), patch)
            if patch not in wanted:
                wanted[patch] = self._describe(detected, patch)
            points_t, described_t = wanted[patch]
            if turn > 0:  # what reflection filled in beyond the source's rim is no content
                kept = _inside(points_s, found, source)
                points_s, described_s = points_s[kept], described_s[kept]
            near = euclidean(described_s, described_t)
            i, j = nearest(near, ratio=self.config.ratio, mutual=self.config.mutual)
            solved = robust_homography(points_s[i], points_t[j], self.config)
            if solved is None:
                return None
            found, inliers = solved[0] @ found, solved[1]
            if not _sane(found, source):
                return None
        return found if inliers >= self.config.inliers else None

    def _detect(self, image: Grey) -> _Detected:
        with torch.inference_mode():
            grey = torch.from_numpy(image)[None, None] / 255.0
            maps = phase_congruency(grey, self.config.scales, self.config.orientations)
        moments = [m for kind, m in (("maximum", maps.maximum), ("minimum", maps.minimum)) if self._looks_at(kind)]
        points = np.concatenate([_corners(m[0, 0].numpy(), self.config.features) for m in moments])
        return _Detected(np.unique(points, axis=0), maps.maximum[0, 0], maps.amplitude[0].max(dim=0).indices)

    def _looks_at(self, kind: str) -> bool:
        return self.config.moment in (kind, "both")

    def _describe(self, detected: _Detected, patch: int) -> tuple[Points, NDArray[np.float32]]:
        points, angle = torch.from_numpy(detected.points), None
        if self.config.rotation:
            which, angle = main_orientations(detected.maximum, points, patch)
            points = points[which]
        described = histograms(detected.index, points, patch, self.config.cells, self.config.orientations, angle)
        return points.numpy(), described.numpy()


def _corners(moment: NDArray[np.float32], count: int) -> Points:
    """The ``count`` strongest FAST corners ``(N, 2)`` of a map, in its own range."""
    low, high = moment.min(), moment.max()
    if not high > low:
        return np.empty((0, 2))
    grey = np.round((moment - low) * (255.0 / (high - low))).astype(np.uint8)
    found = cv2.FastFeatureDetector.create(threshold=1, nonmaxSuppression=True).detect(grey)
    points = np.array(cv2.KeyPoint.convert(found), np.float64).reshape(-1, 2)
    inner = ((points >= _BORDER) & (points < np.array(grey.shape[::-1]) - _BORDER)).all(axis=1)
    strength = np.array([k.response for k in found])[inner]
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


def _sane(homography: Matrix, source: Grey) -> bool:
    """Invertible, and no corner farther from where it was than the image is long: worth another pass."""
    h, w = source.shape
    corners = np.array([[0, 0, 1], [w - 1, 0, 1], [0, h - 1, 1], [w - 1, h - 1, 1]], np.float64)
    moved = corners @ homography.T
    if not np.isfinite(moved).all() or (moved[:, 2] * moved[0, 2] <= 0).any():
        return False
    shift = moved[:, :2] / moved[:, 2:] - corners[:, :2]
    return bool(np.abs(shift).max() <= max(h, w)) and abs(np.linalg.det(homography / homography[2, 2])) > 1e-3
