"""Where an image may lie on another: similarities on a grid of angles and scales, at every shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.ops import masked_correlation, masked_spectrum
from regbench_matchers.edge_search.fields import Matrix, Working, field

_PEAKS = 3  # kept of each angle and scale
_LEAST_COMMON = 0.3  # share of the smaller image that both must show
_FLOOR = 1e-3  # share of the largest length below which fields agree by chance
_APART = 0.06  # share of the target's diagonal by which kept hypotheses differ


class Hypothesis(NamedTuple):
    """A homography that may be the right one."""

    score: float
    """Agreement in [-1, 1] times the root of the pixels in common: in standard deviations of unrelated edges, up to a
    factor that is the same for all hypotheses of a pair."""
    homography: Matrix
    """Pixels of the source to pixels of the target, at working size."""


def hypotheses(
    source: Working, target: Working, angles: Sequence[float], scales: Sequence[float], blur: float, count: int
) -> list[Hypothesis]:
    """The best similarities that differ, best first.

    Args:
        source: the moving image.
        target: the fixed image.
        angles: of rotation, radians.
        scales: px of the target along a px of the source.
        blur: of the fields, px.
        count: how many at most.
    """
    fixed = field(target, np.eye(3), target.size, blur)
    found: list[Hypothesis] = []
    for scale in scales:
        side = math.ceil(1.25 * scale * max(source.size))  # corners that a rotation turns out of it are let go
        size = [cv2.getOptimalDFTSize(n + side) for n in target.size]
        spectrum = masked_spectrum(fixed.values, fixed.mask, size)
        for angle in angles:
            turn = _similarity(angle, scale, source.size, side)
            moving = field(source, turn, (side, side), blur)
            surfaces = masked_correlation(masked_spectrum(moving.values, moving.mask, size), spectrum, size)
            least = _LEAST_COMMON * min(float(moving.mask.sum()), float(fixed.mask.sum()))
            scores = surfaces.agreement(_FLOOR) * surfaces.common.clamp_min(0).sqrt()
            scores = torch.where(surfaces.common > least, scores, 0.0)
            for score, y, x in _peaks(scores[0]):
                shift = np.array(
                    [[1, 0, x - size[1] * (x >= target.size[1])], [0, 1, y - size[0] * (y >= target.size[0])]]
                )
                found.append(Hypothesis(score, np.vstack([shift, [0, 0, 1]]) @ turn))
    return _different(found, source, target, count)


def _similarity(angle: float, scale: float, size: tuple[int, int], side: int) -> Matrix:
    """Rotation and scale about the middle of an image, which comes to the middle of a square."""
    middle = np.array([size[1] - 1, size[0] - 1]) / 2
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shift = (side - 1) / 2 - turn @ middle
    return np.vstack([np.column_stack([turn, shift]), [0.0, 0.0, 1.0]])


def _peaks(scores: Tensor) -> list[tuple[float, int, int]]:
    """The highest local maxima above zero: score, row, column."""
    around = F.max_pool2d(scores[None, None], 7, 1, 3)[0, 0]
    tops = torch.where(scores >= around, scores, 0.0).flatten()
    values, places = tops.topk(_PEAKS)
    width = scores.shape[1]
    return [(v, p // width, p % width) for v, p in zip(values.tolist(), places.tolist(), strict=True) if v > 0]


def _different(found: list[Hypothesis], source: Working, target: Working, count: int) -> list[Hypothesis]:
    """The best of those that lay the corners of the source at about the same places."""
    h, w = source.size
    corners = np.array([[[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1.0]]])
    least = _APART * math.hypot(*target.size)
    kept: list[tuple[Hypothesis, Matrix]] = []
    for one in sorted(found, key=lambda one: -one.score):
        quad = cv2.perspectiveTransform(corners, one.homography)[0]
        if all(np.linalg.norm(quad - other, axis=1).mean() > least for _, other in kept):
            kept.append((one, quad))
            if len(kept) == count:
                break
    return [one for one, _ in kept]
