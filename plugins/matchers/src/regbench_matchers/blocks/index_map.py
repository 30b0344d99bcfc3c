"""The descriptor of RIFT: histograms of the maximum index map, upright or rotated to a main orientation (RIFT2)."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_BINS = 24  # of the orientation histogram of RIFT2
_PEAK = 0.8  # peaks above this share of the maximum are main orientations
_CHUNK = 512  # keypoints described at a time, which bounds memory on large images


def histograms(
    index: Tensor, points: Tensor, patch: int, cells: int, orientations: int, angle: Tensor | None = None
) -> Tensor:
    """Describe keypoints by how often each orientation is the strongest in each cell around them.

    With angles, the centres of the cells rotate with the patch but the cells stay upright squares, so that their sums
    come from one integral image. The authors resample the rotated patch, which differs only within a cell.

    Args:
        index: ``(H, W)``, the strongest orientation of each pixel, whole numbers below ``orientations``.
        points: ``(N, 2)`` pixels, x then y.
        patch: side of the patch, px; rounded down to a multiple of ``cells``, at least 1 px a cell.
        cells: number of cells along a side.
        orientations: number of indices.
        angle: ``(N,)`` radians from x towards y, or None for upright patches. With it, indices are shifted cyclically
            by the patch's most frequent one (RIFT2).

    Returns:
        ``(N, cells^2 * orientations)`` float32 of length 1 (0 for a patch outside the image).
    """
    votes = F.one_hot(index, orientations).int().cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    integral = F.pad(votes, (0, 0, 1, 0, 1, 0)).flatten(0, 1)  # sum of all pixels above and left of a pixel
    h, w = index.shape
    side = max(1, patch // cells)
    offset = (torch.arange(cells, dtype=torch.float64) - (cells - 1) / 2) * side
    v, u = (grid.flatten() for grid in torch.meshgrid(offset, offset, indexing="ij"))
    descriptors = []
    for start in range(0, len(points), _CHUNK):
        at = points[start : start + _CHUNK].double()
        rotation = torch.zeros(len(at), 1) if angle is None else angle[start : start + _CHUNK, None].double()
        cos, sin = torch.cos(rotation), torch.sin(rotation)
        # First pixels of each cell, (n, cells^2).
        left = (at[:, :1] + cos * u - sin * v - side / 2 + 1).floor().long()
        top = (at[:, 1:] + sin * u + cos * v - side / 2 + 1).floor().long()
        x0, x1 = left.clamp(0, w), (left + side).clamp(0, w)
        y0, y1 = top.clamp(0, h), (top + side).clamp(0, h)
        corners = [(y * (w + 1) + x).flatten() for y, x in ((y1, x1), (y0, x1), (y1, x0), (y0, x0))]
        a, b, c, d = (integral.index_select(0, corner) for corner in corners)
        counts = (a - b - c + d).view(*left.shape, orientations)  # (n, cells^2, orientations)
        if angle is not None:
            dominant = counts.sum(dim=1).argmax(dim=1)
            shifted = (torch.arange(orientations) + dominant[:, None]) % orientations
            counts = counts.gather(2, shifted[:, None].expand_as(counts))
        descriptors.append(F.normalize(counts.flatten(1).float(), dim=1))
    return torch.cat(descriptors) if descriptors else torch.zeros(0, cells * cells * orientations)


def main_orientations(moment: Tensor, points: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Main orientations of the gradient around keypoints, as RIFT2 finds them.

    A histogram of 24 bins over the disc inscribed in the patch, weighted by the gradient's length and a Gaussian of a
    sixth of the patch, is smoothed by (1 4 6 4 1) / 16. Every peak above 0.8 of the highest is a main orientation,
    refined by a parabola.

    Args:
        moment: ``(H, W)`` map whose gradient is taken (Sobel).
        points: ``(N, 2)`` pixels.
        patch: side, px.

    Returns:
        ``(M,)`` index of the keypoint and ``(M,)`` angle in radians from x towards y; a keypoint may have several, or
        none where the map is flat.
    """
    grey = np.ascontiguousarray(moment.numpy())
    gx, gy = (
        torch.from_numpy(cv2.Sobel(grey, cv2.CV_32F, dx, dy, borderType=cv2.BORDER_REPLICATE))
        for dx, dy in ((1, 0), (0, 1))
    )
    strength, direction = torch.hypot(gx, gy).flatten(), torch.atan2(gy, gx).flatten()
    bins = (direction * (_BINS / (2 * math.pi))).round().long() % _BINS
    reach = patch // 2
    y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1)] * 2, indexing="ij")
    weight = torch.exp(-(x * x + y * y) / (2 * (patch / 6) ** 2)) * (x * x + y * y <= reach * reach)
    # One convolution a bin gives the weighted histogram at every pixel; pixels beyond the rim do not vote.
    votes = torch.zeros(_BINS, bins.numel()).scatter_(0, bins[None], strength[None]).view(_BINS, *moment.shape)
    size = [n + 2 * reach for n in moment.shape]
    everywhere = torch.fft.irfft2(torch.fft.rfft2(votes, s=size) * torch.fft.rfft2(weight, s=size), s=size)
    at = points.round().long() + reach
    histogram = everywhere[:, at[:, 1], at[:, 0]].T.double()  # (N, bins)
    smooth = (
        6 * histogram
        + 4 * (histogram.roll(1, 1) + histogram.roll(-1, 1))
        + histogram.roll(2, 1)
        + histogram.roll(-2, 1)
    ) / 16
    before, after = smooth.roll(1, 1), smooth.roll(-1, 1)
    peak = (smooth > before) & (smooth > after) & (smooth > _PEAK * smooth.amax(dim=1, keepdim=True))
    which, b = peak.nonzero(as_tuple=True)
    low, middle, high = before[which, b], smooth[which, b], after[which, b]
    return which, (b + 0.5 * (low - high) / (low + high - 2 * middle)) * (2 * math.pi / _BINS)
