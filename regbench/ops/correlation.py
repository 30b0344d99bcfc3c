"""Local correlation: dot products of each feature with a window of the other map, which may be warped on the way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.ops import fast


def local_correlation(map1: Tensor, map2: Tensor, radius: int) -> Tensor:
    """Correlate every position of ``map1`` with the window around the same position of ``map2``.

    out[b, (dy + r) * (2r+1) + (dx + r), y, x] = 1/C * sum_c map1[b, c, y, x] * map2[b, c, y + dy, x + dx], with zeros
    outside ``map2`` (MCNet, sec. 3; the raw dot product, no normalisation of the features, no ReLU).

    Args:
        map1: ``(B, C, H, W)``; channels last is fastest.
        map2: ``(B, C, H, W)``, already warped into the frame of ``map1``.
        radius: half side of the window in pixels, at least 0.

    Returns:
        ``(B, (2 radius + 1)^2, H, W)`` in the maps' dtype, channels last.

    Raises:
        ValueError: the maps differ in shape, or the radius is negative.
    """
    return _correlate(map1, map2, None, radius)


def warped_correlation(map1: Tensor, map2: Tensor, grid: Tensor, radius: int) -> Tensor:
    """The same, with ``map2`` sampled where ``grid`` leads: the correlation of ``map1`` with the warped ``map2``.

    Equals ``local_correlation(map1, grid_sample(map2, grid, "bilinear", "border", align_corners=True), radius)``, and
    so do its gradients for both maps and the grid. A coordinate that is not a number samples the first row or column.

    Args:
        map1: ``(B, C, H, W)``; channels last is fastest.
        map2: ``(B, C, H, W)``.
        grid: ``(B, H, W, 2)``, x then y; -1 and 1 are the centres of the outer pixels.
        radius: half side of the window in pixels of ``map1``, at least 0.

    Returns:
        ``(B, (2 radius + 1)^2, H, W)`` in the maps' dtype, channels last.

    Raises:
        ValueError: the maps differ in shape, the grid does not fit them, or the radius is negative.
    """
    if grid.shape != (map1.shape[0], *map1.shape[-2:], 2):
        raise ValueError(f"grid must be (B, H, W, 2) for maps {tuple(map1.shape)}, got {tuple(grid.shape)}")
    return _correlate(map1, map2, grid, radius)


def _correlate(map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
    if map1.shape != map2.shape or map1.ndim != 4:
        raise ValueError(f"maps must both be (B, C, H, W), got {tuple(map1.shape)} and {tuple(map2.shape)}")
    if radius < 0:
        raise ValueError(f"radius must not be negative, got {radius}")
    # Mixed precision is the caller's choice of dtype; autocast would hand the backward pass two of them.
    with torch.autocast(map1.device.type, enabled=False):
        if fast.usable(map1, cuda=True, onnx=True):
            return fast.correlation(map1, map2, grid, radius)
        if grid is not None:
            map2 = F.grid_sample(map2, grid, padding_mode="border", align_corners=True)
        h, w = map1.shape[-2:]
        padded = F.pad(map2, [radius] * 4)
        shifts = range(2 * radius + 1)
        windows = [(map1 * padded[..., dy : dy + h, dx : dx + w]).mean(dim=1) for dy in shifts for dx in shifts]
        return torch.stack(windows, dim=1)
