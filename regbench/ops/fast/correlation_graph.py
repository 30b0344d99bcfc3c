"""Local correlation as a graph for ONNX: the tiles of ``correlation_tiles``, cut out by constant indices.

A graph knows neither strided views nor backward passes. The sum over shifts that ``regbench.ops.correlation`` states
could be exported as it is, but onnxruntime then takes 4.3 times as long for a published MCNet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.ops.fast.correlation_tiles import TILE, tile_index, tiles_along


def correlation_graph(map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
    """Arguments as of :func:`regbench.ops.fast.correlation`; ``(B, (2 radius + 1)^2, H, W)``."""
    if grid is not None:
        map2 = F.grid_sample(map2, grid, padding_mode="border", align_corners=True)
    b, c, h, w = map1.shape
    window, side = 2 * radius + 1, TILE + 2 * radius
    ny, nx = tiles_along(h), tiles_along(w)
    index = tile_index(1, h, w, radius, map1.device)

    def cut(x: Tensor, rows: Tensor) -> Tensor:
        return x.flatten(2).index_select(2, rows.flatten()).reshape(b, c, ny * nx, -1)

    halos = cut(F.pad(map2.flatten(2), (0, 1)), index.halos)
    products = torch.matmul(cut(map1, index.tiles).permute(0, 2, 3, 1) / c, halos.permute(0, 2, 1, 3))
    row, column = (torch.arange(TILE, device=map1.device) for _ in range(2))
    dy, dx = (torch.arange(window, device=map1.device) for _ in range(2))
    first = (row[:, None] * TILE + column) * side * side
    second = (row[:, None, None, None] + dy[:, None]) * side + column[:, None, None] + dx
    diagonal = (first[..., None, None] + second).flatten()
    windows = products.flatten(2).index_select(2, diagonal).reshape(b, ny, nx, TILE, TILE, window, window)
    windows = windows.permute(0, 5, 6, 1, 3, 2, 4).reshape(b, window**2, ny * TILE, nx * TILE)
    return windows[..., :h, :w]
