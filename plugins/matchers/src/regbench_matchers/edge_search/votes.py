"""A homography improved by tiles, each of which votes for its shift with all of its correlation surface.

A tile of a radar or depth image alone often fits better at a wrong place than at its own. So no tile decides where it
lies: the surfaces of all tiles are added up along the homography, which is moved to where their sum is largest.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from regbench.ops import Surfaces, masked_correlation, masked_spectrum
from regbench_matchers.edge_search.fields import Field, Matrix, Size, Working, field

Doubles = NDArray[np.float64]

_LEAST_COMMON = 0.4  # share of the largest number of pixels in common, below which a shift of a tile does not count
_LEAST_PIXELS = 64  # that both images must show
_NEAREST, _FARTHEST = 0.045, 0.18  # shifts that stand for wrong answers, shares of the target's diagonal
_BLURS = (0.35, 0.15, 0.05)  # of the surfaces, shares of the reach: from far to near
_STEPS = 30  # at each blur
_STIFFNESS = 0.003  # weight of the squared moves of corners, in units of the reach, against the mean agreement


def agreement(source: Working, target: Working, homography: Matrix, blur: float) -> float:
    """Agreement of the edges times the root of the pixels in common; -1 where too little is in common."""
    moving, fixed = field(source, homography, target.size, blur), field(target, np.eye(3), target.size, blur)
    common = moving.mask * fixed.mask
    if common.sum() < _LEAST_PIXELS:
        return -1.0
    first, second = moving.values * common, fixed.values * common
    lengths = (first.square().sum() * second.square().sum()).sqrt().clamp_min(1e-9)
    return float((first * second).sum() / lengths * common.sum().sqrt())


def margin(source: Working, target: Working, homography: Matrix, blur: float) -> float:
    """By how much the agreement exceeds that of every copy shifted by 4.5 to 18 % of the target's diagonal.

    Returns:
        In standard deviations of the agreement of those copies, which stand for wrong answers; 0 for none.
    """
    moving, fixed = field(source, homography, target.size, blur), field(target, np.eye(3), target.size, blur)
    diagonal = float(np.hypot(*target.size))
    reach = round(_FARTHEST * diagonal)
    size = [cv2.getOptimalDFTSize(n + reach) for n in target.size]
    first, second = (masked_spectrum(x.values, x.mask, size) for x in (moving, fixed))
    surfaces = masked_correlation(first, second, size)
    side = 2 * reach + 1
    cut = Surfaces(*(x.roll((reach, reach), (-2, -1))[..., :side, :side] for x in surfaces))
    scores, common = cut.agreement(1e-4)[0].numpy(), cut.common[0].numpy()
    steps = np.arange(-reach, reach + 1)
    distance = np.hypot(steps[:, None], steps) / diagonal
    usable = (common > 0.5 * common[reach, reach]) & (distance >= _NEAREST) & (distance <= _FARTHEST)
    others = scores[usable]
    if common[reach, reach] < _LEAST_PIXELS or len(others) < 8 or not others.std() > 1e-9:
        return 0.0
    return float((scores[reach, reach] - others.max()) / others.std())


def improved(source: Working, target: Working, homography: Matrix, tiles: int, reach: int, blur: float) -> Matrix:
    """The homography moved to where the tiles' agreement is largest.

    Args:
        source: the moving image.
        target: the fixed image.
        homography: pixels of the source to pixels of the target.
        tiles: along a side of what the source covers.
        reach: largest shift of a tile, px.
        blur: of the fields, px.
    """
    moving, fixed = field(source, homography, target.size, blur), field(target, np.eye(3), target.size, blur)
    if (moving.mask * fixed.mask).sum() < _LEAST_PIXELS:
        return homography
    votes, centres = _surfaces(moving, fixed, tiles, reach)
    if len(votes) < 4:
        return homography
    h, w = target.size
    corners = np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]], np.float32)
    moves = _climbed(votes, _weights(centres, target.size), reach)
    moved = cv2.getPerspectiveTransform(corners, (corners + moves).astype(np.float32)) @ homography
    return np.asarray(moved / moved[2, 2])


def _surfaces(moving: Field, fixed: Field, tiles: int, reach: int) -> tuple[Doubles, Doubles]:
    """Agreement of each tile at each shift ``(N, 2 reach + 1, 2 reach + 1)``, heavier the more edges a tile has, in sum
    at most 1; and the tiles' centres ``(N, 2)``."""
    seen = moving.mask[0, 0].numpy() > 0
    ys, xs = (
        np.linspace(np.flatnonzero(seen.any(axis))[0], np.flatnonzero(seen.any(axis))[-1] + 1, tiles + 1).round()
        for axis in (1, 0)
    )
    h, w = int(np.diff(ys).max()), int(np.diff(xs).max())
    wide = (reach, reach + w, reach, reach + h)
    padded = [F.pad(x, (0, w, 0, h)) for x in (moving.values, moving.mask)]
    padded += [F.pad(x, wide) for x in (fixed.values, fixed.mask)]
    places = [(int(y), int(x)) for y in ys[:-1] for x in xs[:-1]]

    def cut(image: Tensor, more: int) -> Tensor:
        return torch.cat([image[..., y : y + h + more, x : x + w + more] for y, x in places])

    size = [cv2.getOptimalDFTSize(n + 2 * reach) for n in (h, w)]
    first = masked_spectrum(cut(padded[0], 0), cut(padded[1], 0), size)
    second = masked_spectrum(cut(padded[2], 2 * reach), cut(padded[3], 2 * reach), size)
    inner, mine, theirs, common = (
        x[:, : 2 * reach + 1, : 2 * reach + 1].double().numpy() for x in masked_correlation(first, second, size)
    )
    strongest = np.sqrt(np.clip(mine, 0, None) * np.clip(theirs, 0, None)).max((1, 2))
    most = common.max((1, 2))
    kept = (most > 0.25 * most.max()) & (strongest > 1e-6)
    enough = common > _LEAST_COMMON * most[:, None, None]
    votes = np.where(enough, inner, 0.0)[kept] / max(float(strongest[kept].sum()), 1e-9)
    return votes, np.array([(x + (w - 1) / 2, y + (h - 1) / 2) for y, x in places])[kept]


def _weights(centres: Doubles, size: Size) -> Doubles:
    """By how much each corner of an image moves each place, ``(N, 4)``: bilinear, as small homographies nearly are."""
    x, y = centres[:, 0] / max(size[1] - 1, 1), centres[:, 1] / max(size[0] - 1, 1)
    return np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)


def _climbed(votes: Doubles, weights: Doubles, reach: int) -> Doubles:
    """Moves of the corners ``(4, 2)`` px that raise the votes most: Adam on surfaces that are blurred less and less."""
    moves, slope, square, step = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 2)), 0
    for blur in _BLURS:
        smooth = np.stack([cv2.GaussianBlur(v, (0, 0), max(0.5, blur * reach)) for v in votes])
        slopes = np.stack(np.gradient(smooth, axis=(2, 1)), 1)  # along x, then y
        for _ in range(_STEPS):
            step += 1
            uphill = weights.T @ _sampled(slopes, weights @ moves, reach) - _STIFFNESS * moves / reach**2
            slope, square = 0.8 * slope + 0.2 * uphill, 0.9 * square + 0.1 * uphill**2
            length = blur * reach / 6
            moves = moves + length * (slope / (1 - 0.8**step)) / (np.sqrt(square / (1 - 0.9**step)) + 1e-9)
    return moves


def _sampled(surfaces: Doubles, shifts: Doubles, reach: int) -> Doubles:
    """Values ``(N, 2)`` of surfaces ``(N, 2, 2 reach + 1, 2 reach + 1)`` at shifts ``(N, 2)``; 0 outside, bilinear."""
    inside = np.abs(shifts).max(1) < reach
    at = np.clip(shifts + reach, 0, 2 * reach - 1e-6)
    x, y = np.floor(at).astype(int).T
    fx, fy = (at - np.floor(at)).T[:, :, None]
    rows = np.arange(len(surfaces))
    top = surfaces[rows, :, y, x] * (1 - fx) + surfaces[rows, :, y, x + 1] * fx
    bottom = surfaces[rows, :, y + 1, x] * (1 - fx) + surfaces[rows, :, y + 1, x + 1] * fx
    return np.where(inside[:, None], top * (1 - fy) + bottom * fy, 0.0)
