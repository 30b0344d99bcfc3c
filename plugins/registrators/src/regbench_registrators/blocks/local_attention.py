"""Attention of every position to a window around the same position of another map.

The map is cut into tiles. Each tile attends to its halo (the tile grown by the radius) under a mask that keeps the
window: dense products over more keys than wanted take the place of gathers, and no compiled extension is needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
"""Side of a tile: the halo at radius 1 holds 100 keys for 9 wanted ones, at radius 4 256 for 81."""


def local_attention(query: Tensor, key: Tensor, value: Tensor, radius: int) -> Tensor:
    """Softmax over the window of query . key / sqrt(C), applied to the values.

    Positions outside the map take part with logit 0 and value 0, as in the published RHWF.

    Args:
        query: ``(B, C, H, W)``.
        key: the same shape.
        value: the same shape.
        radius: half side of the window in pixels.

    Returns:
        ``(B, C, H, W)``.
    """
    b, c, h, w = query.shape
    bottom, right = -h % TILE, -w % TILE
    ny, nx = (h + bottom) // TILE, (w + right) // TILE
    tiles = F.pad(query, (0, right, 0, bottom)).reshape(b, c, ny, TILE, nx, TILE)
    tiles = tiles.permute(0, 2, 4, 3, 5, 1).reshape(b * ny * nx, 1, TILE * TILE, c)
    around = (radius, radius + right, radius, radius + bottom)
    mask = _window(radius, query.device)
    attended = F.scaled_dot_product_attention(
        tiles, _halos(F.pad(key, around), radius), _halos(F.pad(value, around), radius), mask
    )
    attended = attended.reshape(b, ny, nx, TILE, TILE, c).permute(0, 5, 1, 3, 2, 4)
    return attended.reshape(b, c, ny * TILE, nx * TILE)[..., :h, :w]


def global_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same over all positions: ``(B, C, H, W)`` each."""
    q, k, v = (x.flatten(2).transpose(-1, -2).unsqueeze(1) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(-1, -2).reshape(query.shape)


def _halos(padded: Tensor, radius: int) -> Tensor:
    """(B, C, H + 2r, W + 2r) to (B * tiles, 1, S*S, C) with S = TILE + 2r: one matrix of keys a tile."""
    side = TILE + 2 * radius
    channels = padded.shape[1]
    cut = padded.permute(0, 2, 3, 1).contiguous().unfold(1, side, TILE).unfold(2, side, TILE)  # (B, ny, nx, C, S, S)
    return cut.permute(0, 1, 2, 4, 5, 3).reshape(-1, 1, side * side, channels)


def _window(radius: int, device: torch.device) -> Tensor:
    """(TILE*TILE, S*S) bool: which positions of the halo lie in the window of a position of the tile."""
    inside = torch.arange(TILE, device=device)
    around = torch.arange(TILE + 2 * radius, device=device) - radius
    near = (inside[:, None] - around[None, :]).abs() <= radius  # (T, S), the same for rows and columns
    return (near[:, None, :, None] & near[None, :, None, :]).reshape(TILE * TILE, -1)
