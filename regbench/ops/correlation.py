"""Local correlation: the dot products of each feature with a window of the other map.

The window is never unfolded. The maps are cut into tiles; one batched matrix product correlates a tile with its halo
(the tile grown by the radius), and the wanted products lie on the diagonals of that matrix, which a strided view
reads without a copy. Against an einsum over unfolded windows this saves the (2r+1)^2-fold copy of the features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
"""Side of a tile. The halo of an 8-tile at radius 4 is 16 x 16: 3.2 x the wanted products, in fast GEMMs."""


def local_correlation(map1: Tensor, map2: Tensor, radius: int) -> Tensor:
    """Correlate every position of ``map1`` with the window around the same position of ``map2``.

    out[b, (dy + r) * (2r+1) + (dx + r), y, x] = 1/C * sum_c map1[b, c, y, x] * map2[b, c, y + dy, x + dx], with zeros
    outside ``map2`` (MCNet, sec. 3; the raw dot product, no normalisation of the features, no ReLU).

    Args:
        map1: ``(B, C, H, W)``.
        map2: ``(B, C, H, W)``, already warped into the frame of ``map1``.
        radius: half side of the window in pixels, at least 0.

    Returns:
        ``(B, (2 radius + 1)^2, H, W)`` in the maps' dtype.

    Raises:
        ValueError: the maps differ in shape, or the radius is negative.
    """
    if map1.shape != map2.shape or map1.ndim != 4:
        raise ValueError(f"maps must both be (B, C, H, W), got {tuple(map1.shape)} and {tuple(map2.shape)}")
    if radius < 0:
        raise ValueError(f"radius must not be negative, got {radius}")
    h, w = map1.shape[-2:]
    pad_h, pad_w = -h % TILE, -w % TILE
    if pad_h or pad_w:
        map1 = F.pad(map1, (0, pad_w, 0, pad_h))
        map2 = F.pad(map2, (0, pad_w, 0, pad_h))
    if torch.onnx.is_in_onnx_export():  # a graph knows neither strides nor a backward pass
        found = _indexed(map1, map2, radius)
    else:
        # Mixed precision is the caller's choice of dtype; autocast would hand the backward pass two of them.
        with torch.autocast(map1.device.type, enabled=False):
            found = _TileCorrelation.apply(map1, map2, radius)
    return found[..., :h, :w] if pad_h or pad_w else found


def _tiles(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, ny, nx, TILE*TILE, C): channels last, one matrix a tile."""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // TILE, TILE, w // TILE, TILE)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, h // TILE, w // TILE, TILE * TILE, c)


def _halos(x: Tensor, radius: int) -> Tensor:
    """(B, C, H, W) -> (B, ny, nx, S*S, C) with S = TILE + 2 radius, zeros outside the map."""
    side = TILE + 2 * radius
    b, c = x.shape[:2]
    # Channels last before cutting, so that the copy out of the overlapping view moves whole pixels.
    x = F.pad(x, (radius,) * 4).permute(0, 2, 3, 1).contiguous()
    cut = x.unfold(1, side, TILE).unfold(2, side, TILE)  # (B, ny, nx, C, S, S)
    return cut.permute(0, 1, 2, 4, 5, 3).reshape(b, cut.shape[1], cut.shape[2], side * side, c)


def _fold_halos(halos: Tensor, radius: int, h: int, w: int) -> Tensor:
    """Transpose of :func:`_halos`: add overlapping halos back into a map (B, C, H, W)."""
    side = TILE + 2 * radius
    b, ny, nx, _, c = halos.shape
    halos = halos.reshape(b, ny, nx, side, side, c)
    out = halos.new_zeros(b, h + 2 * radius, w + 2 * radius, c)
    # A halo spans several tiles; each of its tile-sized parts lands on a grid without overlap: add part by part.
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            part = halos[:, :, :, y : y + TILE, x : x + TILE]
            ph, pw = part.shape[3], part.shape[4]
            # Rows y + k*TILE of the padded map, k < ny, viewed as (ny, TILE) blocks.
            target = out.as_strided(
                (b, ny, nx, ph, pw, c),
                (out.stride(0), TILE * out.stride(1), TILE * out.stride(2), out.stride(1), out.stride(2), 1),
                out.storage_offset() + y * out.stride(1) + x * out.stride(2),
            )
            target += part
    return out[:, radius : radius + h, radius : radius + w].permute(0, 3, 1, 2)


def _diagonals(products: Tensor, radius: int) -> Tensor:
    """View (B, ny, nx, T*T, S*S) as (B, ny, nx, T, T, 2r+1, 2r+1): product of (y, x) with (y + dy, x + dx)."""
    side, window = TILE + 2 * radius, 2 * radius + 1
    b, ny, nx = products.shape[:3]
    row = side * side
    return products.as_strided(
        (b, ny, nx, TILE, TILE, window, window),
        (*products.stride()[:3], TILE * row + side, row + 1, side, 1),
        products.storage_offset(),
    )


def _indexed(map1: Tensor, map2: Tensor, radius: int) -> Tensor:
    """The same products, halos and diagonals picked by constant indices in the place of strided views."""
    b, c, h, w = map1.shape
    window, side, wide = 2 * radius + 1, TILE + 2 * radius, w + 2 * radius
    ny, nx = h // TILE, w // TILE
    tile_y, tile_x, y, x = (torch.arange(n, device=map1.device) for n in (ny, nx, side, side))
    # Where pixel (y, x) of the halo of tile (tile_y, tile_x) lies in the flattened padded map.
    halo = (TILE * tile_y[:, None, None, None] + y[:, None]) * wide + TILE * tile_x[:, None, None] + x
    padded = F.pad(map2, (radius,) * 4).flatten(2)
    halos = padded.index_select(2, halo.flatten()).reshape(b, c, ny, nx, side * side)
    products = torch.matmul(_tiles(map1) / c, halos.permute(0, 2, 3, 1, 4))  # (B, ny, nx, T*T, S*S)
    row, column = (torch.arange(TILE, device=map1.device) for _ in range(2))
    dy, dx = (torch.arange(window, device=map1.device) for _ in range(2))
    first = (row[:, None] * TILE + column) * side * side
    second = (row[:, None, None, None] + dy[:, None]) * side + column[:, None, None] + dx
    diagonal = (first[..., None, None] + second).flatten()
    found = products.flatten(3).index_select(3, diagonal).reshape(b, ny, nx, TILE, TILE, window, window)
    return found.permute(0, 5, 6, 1, 3, 2, 4).reshape(b, window**2, h, w)


class _TileCorrelation(torch.autograd.Function):
    """Forward and backward as tile GEMMs; only the two maps are kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, map1: Tensor, map2: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(map1, map2)
        ctx.radius = radius
        b, c, h, w = map1.shape
        products = torch.matmul(_tiles(map1) / c, _halos(map2, radius).mT)
        view = _diagonals(products, radius)  # (B, ny, nx, T, T, k, k)
        return view.permute(0, 5, 6, 1, 3, 2, 4).reshape(b, (2 * radius + 1) ** 2, h, w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        map1, map2 = ctx.saved_tensors
        radius: int = ctx.radius
        b, c, h, w = map1.shape
        window, side = 2 * radius + 1, TILE + 2 * radius
        ny, nx = h // TILE, w // TILE
        d_products = grads[0].new_zeros(b, ny, nx, TILE * TILE, side * side)
        grad = grads[0].reshape(b, window, window, ny, TILE, nx, TILE)
        _diagonals(d_products, radius).copy_(grad.permute(0, 3, 5, 4, 6, 1, 2))
        d_tiles = torch.matmul(d_products, _halos(map2, radius)) / c  # (B, ny, nx, T*T, C)
        d_map1 = d_tiles.reshape(b, ny, nx, TILE, TILE, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        d_halos = torch.matmul(d_products.mT, _tiles(map1) / c)
        return d_map1, _fold_halos(d_halos, radius, h, w), None
