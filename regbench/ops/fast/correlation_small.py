"""Local correlation of small maps: the products of all positions with all others, of which the windows are picked.

Of a map of 16 x 16 these are a third fewer products than those of tiles with halos, in fewer and larger matrices. The
backward pass keeps what the forward pass has looked up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.ops.fast.correlation_tiles import Places, folded, gathered, places_of, rows_of, transposed

SMALL = 16 * 16
"""Most positions of a map; of larger ones the products of tiles are fewer."""

BEYOND = 8
"""Rows of zeros after those of a map, for what lies beyond it; eight keep rows of products aligned."""


@lru_cache(maxsize=64)
def _windows(h: int, w: int, radius: int, device: torch.device) -> Tensor:
    """Where in the ``(n, n + BEYOND)`` products of n = h * w positions the windows lie, position by position."""
    with torch.inference_mode(False):  # kept beyond this call, which may be part of inference
        shift = torch.arange(-radius, radius + 1, device=device)
        y = torch.arange(h, device=device).view(h, 1, 1, 1) + shift[:, None]
        x = torch.arange(w, device=device).view(1, w, 1, 1) + shift
        inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
        other = torch.where(inside, y * w + x, h * w)
        first = (h * w + BEYOND) * torch.arange(h * w, device=device)
        return (first.view(h, w, 1, 1) + other).flatten()


def _product(first: Tensor, second: Tensor, channels: int) -> Tensor:
    """Products of two batches of matrices, divided by the number of channels."""
    out = first.new_empty(len(first), first.shape[1], second.shape[2])
    return torch.baddbmm(out, first, second, beta=0, alpha=1 / channels, out=out)


class SmallCorrelation(torch.autograd.Function):
    """As ``TileCorrelation``."""

    @staticmethod
    def forward(ctx: Any, map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
        """Arguments as of the operator; ``(B, (2 radius + 1)^2, H, W)``, channels last."""
        b, c, h, w = map1.shape
        rows1, rows2, places = rows_of(map1).view(b, h * w, c), rows_of(map2), None
        warped = rows2
        if grid is not None:
            places = places_of(grid)
            # Eight bits cannot address 128 pixels: half precision is interpolated in the grid's float32.
            warped = gathered(rows2.to(places.weight.dtype), places.rows, places.weight).to(rows2.dtype)
        warped = F.pad(warped.view(b, h * w, c), (0, 0, 0, BEYOND))
        products = _product(rows1, warped.mT, c).flatten(1)
        out = products.index_select(1, _windows(h, w, radius, map1.device))
        ctx.save_for_backward(rows1, rows2, warped, *(places or ()))
        ctx.size, ctx.radius = (h, w), radius
        return out.view(b, h, w, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Gradients for both maps and the grid."""
        rows1, rows2, warped, *of_places = ctx.saved_tensors
        (b, n, c), (h, w) = rows1.shape, ctx.size
        grad = grads[0].permute(0, 2, 3, 1).reshape(b, -1)
        index = _windows(h, w, ctx.radius, grad.device).expand_as(grad)
        products = grad.new_zeros(b, n * (n + BEYOND)).scatter_(1, index, grad)
        d_products = products.view(b, n, -1)[..., :n]
        d_rows1 = _product(d_products, warped[:, :n], c)
        d_rows2 = _product(d_products.mT, rows1, c).view(-1, c)
        d_grid = None
        if of_places:
            places = Places(*of_places)
            d_warped = d_rows2.to(places.weight.dtype)
            if ctx.needs_input_grad[2]:
                features = rows2.to(d_warped.dtype)
                slopes = [
                    (d_warped * gathered(features, places.rows, along)).sum(-1)
                    for along in (places.along_x, places.along_y)
                ]
                d_grid = torch.stack(slopes, dim=-1).view(b, h, w, 2)
            d_rows2 = folded(d_warped, transposed(places.rows, b * n), places.weight).to(rows2.dtype)
        d_map1, d_map2 = (x.view(b, h, w, c).permute(0, 3, 1, 2) for x in (d_rows1, d_rows2))
        return d_map1, d_map2, d_grid, None
