"""All-pairs correlation (RAFT, ECCV 2020): products of all positions of two maps, and windows looked up in them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench import geometry


def all_pairs_correlation(source: Tensor, target: Tensor) -> Tensor:
    """relu(sum_c source[b, c, p] * target[b, c, q]) for all positions p and q (IHN, sec. 3).

    The raw dot product: features are neither normalised nor divided by the channels. It is computed in float32 under
    mixed precision too, since eight bits would quantise the sum over 256 channels.

    Args:
        source: ``(B, C, h, w)``.
        target: ``(B, C, h', w')``.

    Returns:
        ``(B * h * w, 1, h', w')`` float32: for each position of the source one map over the target.
    """
    with torch.autocast(source.device.type, enabled=False):
        # In place: this is the largest tensor of all.
        products = torch.matmul(source.float().flatten(2).transpose(-1, -2), target.float().flatten(2)).relu_()
    return products.view(-1, 1, *target.shape[-2:])


def correlation_windows(levels: Sequence[Tensor], centre: Tensor, radius: int) -> Tensor:
    """Windows of a correlation pyramid, bilinear, zero outside the target.

    A window's first index moves x, its second y: entry ``i * (2r+1) + j`` has the offset (i - r, j - r) pixels of its
    level. That is the published order of RAFT and IHN, transposed against MCNet's.

    Args:
        levels: ``(N, 1, h / 2^k, w / 2^k)`` for k = 0, 1, ..: for each of N positions a map and its poolings.
        centre: ``(N, 2)`` pixels of the finest level, x then y: the middle of each position's windows.
        radius: half side of the windows, in pixels of each level.

    Returns:
        ``(N, len(levels) * (2r+1)^2)``.
    """
    side = 2 * radius + 1
    offset = (geometry.pixel_grid((side, side), like=centre) - radius).flip(-1).reshape(side, side, 2)
    windows = []
    for k, level in enumerate(levels):
        scale = 2 / (level.shape[-1] - 1)  # from pixels to the unit coordinates of grid_sample
        grid = (centre * (scale / 2**k) - 1)[:, None, None] + offset * scale
        # cuDNN's sampler refuses a batch of 65,536 windows: that of IHN's published 16 pairs.
        with torch.backends.cudnn.flags(enabled=False) if level.is_cuda else nullcontext():
            windows.append(F.grid_sample(level, grid, align_corners=True).flatten(1))
    return torch.cat(windows, dim=-1)
