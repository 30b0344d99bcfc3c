"""Local correlation on CUDA as Triton kernels: the function that ``regbench/ops/correlation.py`` states in torch.

A program takes a tile of pixels and goes through its halo row by row. The features of a row are interpolated where the
grid leads as they are read, multiplied with the tile, and the products within the window are stored: nothing but the
result is written. The backward kernel reads in the same way, and adds what overlapping halos give to the second map and
to the grid atomically: their last digits depend on the order, as those of torch's own sampling on CUDA do.
"""

# Kernels are no Python that a type checker could follow.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,index,attr-defined,operator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from regbench.ops.fast.kernels import launched_beside
from regbench.ops.fast.memory import channels_last

TILE = 8
"""Side of a tile; each row of the halo is multiplied with all of its pixels."""

CHUNK = 32
"""Channels multiplied at once."""


@triton.jit
def _axis(coordinate, extent):
    """Two neighbouring rows or columns, the share of the second, and how the place changes with the coordinate."""
    place = (coordinate + 1.0) * 0.5 * extent
    slope = tl.where((place > 0.0) & (place < extent), 0.5 * extent, 0.0)
    place = tl.minimum(tl.where(place > 0.0, place, 0.0), extent * 1.0)  # not a number counts as zero
    first = place.to(tl.int32)
    return first, tl.minimum(first + 1, extent), place - first, slope


@triton.jit
def _places(grid, b, y, x, inside, h, w, stride_y, stride_x, GRID: tl.constexpr):
    """Where a row of the halo lies in the second map: offsets of four pixels, their shares, the slopes."""
    if GRID:
        at = ((b * h + y) * w + x) * 2
        left, right, fx, slope_x = _axis(tl.load(grid + at, mask=inside, other=0.0), w - 1)
        above, below, fy, slope_y = _axis(tl.load(grid + at + 1, mask=inside, other=0.0), h - 1)
    else:
        left, right, above, below = x, x, y, y
        fx, fy, slope_x, slope_y = x * 0.0, x * 0.0, x * 0.0, x * 0.0
    p00, p01 = above * stride_y + left * stride_x, above * stride_y + right * stride_x
    p10, p11 = below * stride_y + left * stride_x, below * stride_y + right * stride_x
    return p00, p01, p10, p11, fx[:, None], fy[:, None], slope_x[:, None], slope_y[:, None]


@triton.jit
def _tile(h, w, RADIUS: tl.constexpr, SIDE: tl.constexpr, TILE: tl.constexpr):
    """The program's sample and tile: first row, each pixel's row within, its place; columns of the halo, and shifts."""
    across = (w + TILE - 1) // TILE
    tile_y, tile_x = tl.program_id(0) // across * TILE, tl.program_id(0) % across * TILE
    pixel, column = tl.arange(0, TILE * TILE), tl.arange(0, SIDE)
    row, col = pixel // TILE, pixel % TILE
    y, x = tile_y + row, tile_x + col
    dx = column[None, :] - col[:, None]
    return tl.program_id(1), tile_y, row, y, x, (y < h) & (x < w), tile_x + column - RADIUS, dx


@triton.jit
def _interpolated(v00, v01, v10, v11, fx, fy, kind: tl.constexpr):
    """Features between four pixels, rounded as a map of their type would hold them."""
    features = (1 - fy) * ((1 - fx) * v00 + fx * v01) + fy * ((1 - fx) * v10 + fx * v11)
    return features.to(kind).to(tl.float32)


@triton.jit
def _forward(
    map1, map2, grid, out, h, w, channels,
    b1, c1, y1, x1, b2, c2, y2, x2,
    RADIUS: tl.constexpr, SIDE: tl.constexpr, GRID: tl.constexpr, PRECISION: tl.constexpr,
    TILE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    b, tile_y, row, y, x, exists, halo_x, dx = _tile(h, w, RADIUS, SIDE, TILE)
    column, channel, window = tl.arange(0, SIDE), tl.arange(0, CHUNK), 2 * RADIUS + 1
    for halo_row in range(TILE + 2 * RADIUS):
        halo_y = tile_y + halo_row - RADIUS + column * 0
        inside = (halo_y >= 0) & (halo_y < h) & (halo_x >= 0) & (halo_x < w)
        p00, p01, p10, p11, fx, fy, _, _ = _places(grid, b, halo_y, halo_x, inside, h, w, y2, x2, GRID)
        products = tl.zeros((TILE * TILE, SIDE), tl.float32)
        for start in range(0, channels, CHUNK):
            c = start + channel
            here = exists[:, None] & (c < channels)[None, :]
            tile = tl.load(map1 + b * b1 + c[None, :] * c1 + (y * y1 + x * x1)[:, None], mask=here, other=0.0)
            there = inside[:, None] & (c < channels)[None, :]
            at = map2 + b * b2 + c[None, :] * c2
            features = tl.load(at + p00[:, None], mask=there, other=0.0).to(tl.float32)
            if GRID:
                v01 = tl.load(at + p01[:, None], mask=there, other=0.0).to(tl.float32)
                v10 = tl.load(at + p10[:, None], mask=there, other=0.0).to(tl.float32)
                v11 = tl.load(at + p11[:, None], mask=there, other=0.0).to(tl.float32)
                features = _interpolated(features, v01, v10, v11, fx, fy, map2.dtype.element_ty)
            products += tl.dot(tile.to(tl.float32), tl.trans(features), input_precision=PRECISION)
        dy = halo_row - row[:, None]
        wanted = exists[:, None] & (dy >= 0) & (dy < window) & (dx >= 0) & (dx < window)
        into = out + ((b * window * window + dy * window + dx) * h + y[:, None]) * w + x[:, None]
        tl.store(into, (products / channels).to(out.dtype.element_ty), mask=wanted)


@triton.jit
def _backward(
    map1, map2, grid, grad, d_map1, d_map2, d_grid, h, w, channels,
    b1, c1, y1, x1, b2, c2, y2, x2,
    RADIUS: tl.constexpr, SIDE: tl.constexpr, GRID: tl.constexpr, PRECISION: tl.constexpr,
    TILE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    b, tile_y, row, y, x, exists, halo_x, dx = _tile(h, w, RADIUS, SIDE, TILE)
    column, channel, window = tl.arange(0, SIDE), tl.arange(0, CHUNK), 2 * RADIUS + 1
    for start in range(0, channels, CHUNK):
        c = start + channel
        here = exists[:, None] & (c < channels)[None, :]
        tile = tl.load(map1 + b * b1 + c[None, :] * c1 + (y * y1 + x * x1)[:, None], mask=here, other=0.0)
        tile = tile.to(tl.float32)
        d_tile = tl.zeros((TILE * TILE, CHUNK), tl.float32)
        for halo_row in range(TILE + 2 * RADIUS):
            halo_y = tile_y + halo_row - RADIUS + column * 0
            inside = (halo_y >= 0) & (halo_y < h) & (halo_x >= 0) & (halo_x < w)
            p00, p01, p10, p11, fx, fy, slope_x, slope_y = _places(grid, b, halo_y, halo_x, inside, h, w, y2, x2, GRID)
            dy = halo_row - row[:, None]
            wanted = exists[:, None] & (dy >= 0) & (dy < window) & (dx >= 0) & (dx < window)
            at = grad + ((b * window * window + dy * window + dx) * h + y[:, None]) * w + x[:, None]
            d_products = tl.load(at, mask=wanted, other=0.0).to(tl.float32) / channels
            there = inside[:, None] & (c < channels)[None, :]
            at = map2 + b * b2 + c[None, :] * c2
            v00 = tl.load(at + p00[:, None], mask=there, other=0.0).to(tl.float32)
            d_halo = tl.dot(tl.trans(d_products), tile, input_precision=PRECISION)
            # Gradients are collected in a map of the second map's strides.
            to = d_map2 + b * b2 + c[None, :] * c2
            if GRID:
                v01 = tl.load(at + p01[:, None], mask=there, other=0.0).to(tl.float32)
                v10 = tl.load(at + p10[:, None], mask=there, other=0.0).to(tl.float32)
                v11 = tl.load(at + p11[:, None], mask=there, other=0.0).to(tl.float32)
                features = _interpolated(v00, v01, v10, v11, fx, fy, map2.dtype.element_ty)
                tl.atomic_add(to + p00[:, None], d_halo * (1 - fy) * (1 - fx), mask=there)
                tl.atomic_add(to + p01[:, None], d_halo * (1 - fy) * fx, mask=there)
                tl.atomic_add(to + p10[:, None], d_halo * fy * (1 - fx), mask=there)
                tl.atomic_add(to + p11[:, None], d_halo * fy * fx, mask=there)
                along_x = d_halo * ((1 - fy) * (v01 - v00) + fy * (v11 - v10)) * slope_x
                along_y = d_halo * ((1 - fx) * (v10 - v00) + fx * (v11 - v01)) * slope_y
                at_grid = d_grid + ((b * h + halo_y) * w + halo_x) * 2
                tl.atomic_add(at_grid, tl.sum(along_x, axis=1), mask=inside)
                tl.atomic_add(at_grid + 1, tl.sum(along_y, axis=1), mask=inside)
            else:
                features = v00
                tl.atomic_add(to + p00[:, None], d_halo, mask=there)
            d_tile += tl.dot(d_products, features, input_precision=PRECISION)
        into = d_map1 + b * b1 + c[None, :] * c1 + (y * y1 + x * x1)[:, None]
        tl.store(into, d_tile.to(d_map1.dtype.element_ty), mask=here)


class TritonCorrelation(torch.autograd.Function):
    """``local_correlation``, or ``warped_correlation`` where there is a grid, in float32, bfloat16 or float16."""

    @staticmethod
    def forward(ctx: Any, map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
        """Arguments as of the operator; ``(B, (2 radius + 1)^2, H, W)``."""
        map1, map2 = channels_last(map1), channels_last(map2)
        grid = None if grid is None else grid.float().contiguous()
        ctx.save_for_backward(map1, map2, grid)
        ctx.radius = radius
        out = map1.new_empty(map1.shape[0], (2 * radius + 1) ** 2, *map1.shape[2:])
        _launch(_forward, (out,), map1, map2, grid, radius)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Gradients for both maps and the grid; the last two are summed in float32."""
        map1, map2, grid = ctx.saved_tensors
        d_map1 = torch.empty_like(map1)
        d_map2 = torch.zeros_like(map2, dtype=torch.float32)
        d_grid = None if grid is None else torch.zeros_like(grid)
        into = (grads[0].contiguous(), d_map1, d_map2, d_map2 if d_grid is None else d_grid)
        _launch(_backward, into, map1, map2, grid, ctx.radius)
        return d_map1, d_map2.to(map2.dtype), d_grid, None


def _launch(kernel: Any, others: tuple[Tensor, ...], map1: Tensor, map2: Tensor, grid: Tensor | None, r: int) -> None:
    with launched_beside(map1):
        _run(kernel, others, map1, map2, grid, r)


def _run(kernel: Any, others: tuple[Tensor, ...], map1: Tensor, map2: Tensor, grid: Tensor | None, r: int) -> None:
    b, channels, h, w = map1.shape
    tiles = triton.cdiv(h, TILE) * triton.cdiv(w, TILE)
    kernel[(tiles, b)](
        map1, map2, map2 if grid is None else grid, *others, h, w, channels, *map1.stride(), *map2.stride(),
        RADIUS=r, SIDE=triton.next_power_of_2(max(16, TILE + 2 * r)), GRID=grid is not None,
        # Half precision is exact in TF32: its products run on tensor cores without loss.
        PRECISION="ieee" if map1.dtype == torch.float32 else "tf32", TILE=TILE, CHUNK=CHUNK,
    )  # fmt: skip
