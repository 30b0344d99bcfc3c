"""The 9 x 9 local correlation of MCNet's CUDA kernel as tile GEMMs: the baseline that ``speed_published.py`` times.

The first map is cut into 8 x 8 tiles, the second into the 16 x 16 halos of these tiles. One batched matrix product
multiplies every tile with its halo; a strided view reads the 81 correlations from the diagonals of the products. The
backward pass keeps both maps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

TILE, RADIUS, SIDE, WINDOW = 8, 4, 16, 9


def tile_gemm(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Correlate two maps ``(B, C, H, W)``, H and W multiples of 8; the mean over channels, ``(B, 81, H, W)``."""
    return _TileGemm.apply(first, second)


def _tiles(x):
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // TILE, TILE, w // TILE, TILE)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, h // TILE, w // TILE, TILE * TILE, c)


def _halos(x):
    b, c, h, w = x.shape
    x = F.pad(x, (RADIUS,) * 4).permute(0, 2, 3, 1).contiguous()
    cut = x.unfold(1, SIDE, TILE).unfold(2, SIDE, TILE)
    return cut.permute(0, 1, 2, 4, 5, 3).reshape(b, h // TILE, w // TILE, SIDE * SIDE, c)


def _fold(halos, h, w):
    """Add overlapping halos up: the transpose of :func:`_halos`."""
    b, ny, nx, _, c = halos.shape
    halos = halos.reshape(b, ny, nx, SIDE, SIDE, c)
    out = halos.new_zeros(b, h + 2 * RADIUS, w + 2 * RADIUS, c)
    for y in range(0, SIDE, TILE):
        for x in range(0, SIDE, TILE):
            strides = (out.stride(0), TILE * out.stride(1), TILE * out.stride(2), out.stride(1), out.stride(2), 1)
            target = out.as_strided((b, ny, nx, TILE, TILE, c), strides, y * out.stride(1) + x * out.stride(2))
            target += halos[:, :, :, y : y + TILE, x : x + TILE]
    return out[:, RADIUS : RADIUS + h, RADIUS : RADIUS + w].permute(0, 3, 1, 2)


def _diagonals(products):
    """View ``(B, ny, nx, 64, 256)`` as ``(B, ny, nx, 8, 8, 9, 9)``: the products of each pixel with its window."""
    b, ny, nx = products.shape[:3]
    row = SIDE * SIDE
    shape = (b, ny, nx, TILE, TILE, WINDOW, WINDOW)
    return products.as_strided(shape, (*products.stride()[:3], TILE * row + SIDE, row + 1, SIDE, 1))


class _TileGemm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first, second):
        ctx.save_for_backward(first, second)
        b, c, h, w = first.shape
        products = torch.matmul(_tiles(first) / c, _halos(second).mT)
        return _diagonals(products).permute(0, 5, 6, 1, 3, 2, 4).reshape(b, WINDOW**2, h, w)

    @staticmethod
    def backward(ctx, grad):
        first, second = ctx.saved_tensors
        b, c, h, w = first.shape
        ny, nx = h // TILE, w // TILE
        products = grad.new_zeros(b, ny, nx, TILE * TILE, SIDE * SIDE)
        grad = grad.reshape(b, WINDOW, WINDOW, ny, TILE, nx, TILE)
        _diagonals(products).copy_(grad.permute(0, 3, 5, 4, 6, 1, 2))
        d_tiles = (torch.matmul(products, _halos(second)) / c).reshape(b, ny, nx, TILE, TILE, c)
        d_first = d_tiles.permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        return d_first, _fold(torch.matmul(products.mT, _tiles(first) / c), h, w)
