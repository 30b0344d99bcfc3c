"""Local features for learned matchers: one interface to SuperPoint, DISK, ALIKED and SIFT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import kornia.feature as kf
from torch import Tensor, nn

from regbench.ops import to_grey
from regbench_matchers.blocks.superpoint import SuperPoint


@dataclass(frozen=True)
class Features:
    """Keypoints of one image.

    Attributes:
        points: ``(1, N, 2)`` pixels, x then y, pixel centres at whole numbers.
        descriptors: ``(1, N, D)``.
        scale: ``(1, N)`` px, or None where features have none.
        angle: ``(1, N)`` radians, or None.
    """

    points: Tensor
    descriptors: Tensor
    scale: Tensor | None = None
    angle: Tensor | None = None


def build(kind: str, count: int) -> nn.Module:
    """A network that extracts one kind of features, with random weights (SIFT has none).

    Args:
        kind: ``superpoint``, ``disk``, ``aliked`` or ``sift``.
        count: strongest keypoints kept.
    """
    if kind == "superpoint":
        return SuperPoint(count)
    if kind == "disk":
        return kf.DISK()
    if kind == "aliked":
        return kf.ALIKED("aliked-n16", max_num_keypoints=count)
    return kf.SIFTFeatureScaleSpace(count, descriptor_backend="pyramid", descriptor_layout="opencv")


def extract(network: nn.Module, image: Tensor, count: int) -> Features:
    """Run a network of :func:`build` on an image ``(1, 3, H, W)`` in [0, 1]."""
    if isinstance(network, SuperPoint):
        points, descriptors, _ = network(to_grey(image))
        return Features(points, descriptors)
    if isinstance(network, kf.SIFTFeatureScaleSpace):
        frames, _, descriptors = network(to_grey(image))
        filled = kf.laf_is_filled(frames)[0]
        frames = frames[:, filled]
        # LightGlue was trained with COLMAP's keypoints, whose scale is a sigma and whose angle has the other sign.
        scale = kf.get_laf_scale(frames)[..., 0, 0] / 6
        angle = -kf.get_laf_orientation(frames)[..., 0] * (math.pi / 180)
        points = kf.get_laf_center(frames)
        return Features(points, descriptors[:, filled], scale, angle)
    if isinstance(network, kf.DISK):
        features = network(image, count, pad_if_not_divisible=True)[0]
    else:
        features = network(image)[0]
    return Features(features.keypoints[None], features.descriptors[None])
