"""Local correlation as matrix products of tiles with their halos (a halo is the tile grown by the radius).

Neither the windows nor the warped maps of a batch are ever in memory. A few samples at a time, features are taken as
rows, one a pixel; rows of the other map are interpolated where a grid leads; each tile is multiplied with its halo, and
the wanted products lie on the diagonals of that matrix, which a strided view reads. The backward pass keeps the two
maps and the grid and recomputes the rest.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
"""Side of a tile. At radius 4 its halo is 16 x 16: 3.2 times the wanted products, in fast matrix products."""

BAND = 16
"""Tiles multiplied at once, about, so that what is in use stays in the processor's cache."""

GROUP = 32
"""Tiles of the samples that are worked on together, about: one large map, or several small ones, where calls cost more
than their work."""


def tiles_along(extent: int) -> int:
    """How many tiles cover so many pixels."""
    return -(-extent // TILE)


class Transposed(NamedTuple):
    """The entries of an index in the order of the rows they name: those of row i begin at ``starts[i]``."""

    order: Tensor
    starts: Tensor


def transposed(index: Tensor, rows: int) -> Transposed:
    """The transpose of an index into so many rows."""
    named, order = torch.sort(index.flatten(), stable=True)
    first = torch.searchsorted(named, torch.arange(rows + 1, dtype=index.dtype, device=index.device))
    return Transposed(order.int(), first.int())


class TileIndex(NamedTuple):
    """Which rows of ``n`` samples' maps, one sample after the other, make up their tiles and halos."""

    tiles: Tensor  # (n*ny, nx * T*T); what a tile reads beyond the map is cut off from the result: any row will do
    halos: Tensor  # (n*ny, nx * S*S), S = TILE + 2 radius; beyond a map lies row n*H*W, of zeros
    folding: Transposed  # of the halos


@lru_cache(maxsize=64)
def tile_index(n: int, h: int, w: int, radius: int, device: torch.device) -> TileIndex:
    """The index for n samples' maps of h x w pixels."""
    with torch.inference_mode(False):  # kept beyond this call, which may be part of inference
        ny, nx = tiles_along(h), tiles_along(w)
        first = h * w * torch.arange(n, device=device).view(-1, 1, 1, 1, 1)  # of each sample

        def cut(side: int, margin: int, outside: int) -> Tensor:
            y = TILE * torch.arange(ny, device=device)[:, None] + torch.arange(side, device=device) - margin
            x = TILE * torch.arange(nx, device=device)[:, None] + torch.arange(side, device=device) - margin
            y, x = y[:, None, :, None], x[:, None, :]
            inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
            return torch.where(inside, first + y * w + x, outside).reshape(n * ny, -1).int()

        halos = cut(TILE + 2 * radius, radius, n * h * w)
        order, starts = transposed(halos, n * h * w)
        return TileIndex(cut(TILE, 0, 0), halos, Transposed(order[: int(starts[-1])], starts))


class Places(NamedTuple):
    """Where grids of n samples lead: four rows for each pixel, their weights, and how these change with the grid."""

    rows: Tensor  # (n*H*W, 4) int32
    weight: Tensor  # (n*H*W, 4)
    along_x: Tensor  # (n*H*W, 4)
    along_y: Tensor  # (n*H*W, 4)


def places_of(grid: Tensor) -> Places:
    """Places of grids ``(n, H, W, 2)``; coordinates beyond the border are moved onto it."""
    n, h, w, _ = grid.shape

    def axis(coordinate: Tensor, extent: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        place = (coordinate.flatten() + 1) / 2 * extent
        slope = ((place > 0) & (place < extent)) * (extent / 2)
        place = place.nan_to_num(0.0).clamp(0, extent)
        first = place.floor()
        return first.int(), (first.int() + 1).clamp(max=extent), place - first, slope

    left, right, fx, slope_x = axis(grid[..., 0], w - 1)
    above, below, fy, slope_y = axis(grid[..., 1], h - 1)
    gx, gy = 1 - fx, 1 - fy
    first = torch.arange(0, n * h * w, h * w, dtype=torch.int32, device=grid.device).repeat_interleave(h * w)
    above, below = first + above * w, first + below * w
    return Places(
        torch.stack([above + left, above + right, below + left, below + right], dim=-1),
        torch.stack([gx * gy, fx * gy, gx * fy, fx * fy], dim=-1),
        torch.stack([-gy, gy, -fy, fy], dim=-1) * slope_x[:, None],
        torch.stack([-gx, -fx, gx, fx], dim=-1) * slope_y[:, None],
    )


def gathered(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows, out[i] = sum_k weight[i, k] * rows[index[i, k]], each read where it lies."""
    return F.embedding_bag(index, rows, per_sample_weights=weight, mode="sum")


def folded(values: Tensor, by: Transposed, weight: Tensor | None = None) -> Tensor:
    """For each row the sum of the values gathered from it: the transpose of :func:`gathered`, in a fixed order.

    Adding into rows by index takes three times as long and, in threads, has no order.
    """
    # Entry e of an index with K entries for each value belongs to value e // K.
    of_value = by.order if weight is None else by.order // weight.shape[1]
    by_entry = None if weight is None else weight.flatten()[by.order]
    return F.embedding_bag(
        of_value, values, by.starts, mode="sum", per_sample_weights=by_entry, include_last_offset=True
    )


def rows_of(x: Tensor) -> Tensor:
    """(n, C, H, W) -> (n * H * W, C); a view where channels are last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _with_zeros(rows: Tensor, places: Places | None) -> Tensor:
    """The rows, interpolated where places are given, and a last row of zeros."""
    if places is None:
        return F.pad(rows, (0, 0, 0, 1))
    index, weight = (F.pad(x, (0, 0, 0, 1)) for x in (places.rows, places.weight))
    # Eight bits cannot address 128 pixels: half precision is interpolated in the grid's float32.
    return gathered(rows.to(weight.dtype), index, weight).to(rows.dtype)


def diagonals(products: Tensor, radius: int) -> Tensor:
    """View (tiles, T*T, S*S) as (tiles, T, T, 2r+1, 2r+1): product of (y, x) with (y + dy, x + dx)."""
    side, window = TILE + 2 * radius, 2 * radius + 1
    shape = (len(products), TILE, TILE, window, window)
    return products.as_strided(shape, (products.stride(0), TILE * side**2 + side, side**2 + 1, side, 1))


def _groups(maps: Tensor) -> list[slice]:
    """Which samples are worked on together."""
    b, _, h, w = maps.shape
    step = max(1, GROUP // (tiles_along(h) * tiles_along(w)))
    return [slice(i, min(i + step, b)) for i in range(0, b, step)]


class _Bands:
    """The order of work on a group of samples: rows of tiles, about :data:`BAND` tiles at once."""

    def __init__(self, maps: Tensor, radius: int) -> None:
        self.samples, self.channels, h, w = maps.shape
        self.index = tile_index(self.samples, h, w, radius, maps.device)
        self.side = TILE + 2 * radius
        self.ny, self.nx = tiles_along(h), tiles_along(w)
        self.rows = self.samples * self.ny
        step = max(1, BAND // self.nx)
        self.slices = [slice(y, min(y + step, self.rows)) for y in range(0, self.rows, step)]

    def tiles(self, rows: Tensor, band: slice) -> Tensor:
        """``(tiles, T*T, C)``."""
        return rows.index_select(0, self.index.tiles[band].flatten()).view(-1, TILE**2, self.channels)

    def halos(self, rows: Tensor, band: slice) -> Tensor:
        """``(tiles, S*S, C)`` of rows that end in the row of zeros."""
        return rows.index_select(0, self.index.halos[band].flatten()).view(-1, self.side**2, self.channels)

    def product(self, first: Tensor, second: Tensor, out: Tensor | None = None) -> Tensor:
        """Products of two batches of matrices, divided by C."""
        if out is None:
            out = first.new_empty(len(first), first.shape[1], second.shape[2])
        return torch.baddbmm(out, first, second, beta=0, alpha=1 / self.channels, out=out)

    def within(self, padded: Tensor, band: slice) -> Tensor:
        """View samples (n, ny*T, nx*T, ...) as the band's tiles (rows of tiles, nx, T, T, ...)."""
        tiled = padded.view(self.rows, TILE, self.nx, TILE, *padded.shape[3:])
        return tiled[band].transpose(1, 2)


class TileCorrelation(torch.autograd.Function):
    """``warped_correlation``, or ``local_correlation`` where the grid is None, on any device and in any dtype."""

    @staticmethod
    def forward(ctx: Any, map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
        """Arguments as of the operator; ``(B, (2 radius + 1)^2, H, W)``, channels last."""
        ctx.save_for_backward(map1, map2, grid)
        ctx.radius = radius
        b, _, h, w = map1.shape
        ny, nx, window = tiles_along(h), tiles_along(w), 2 * radius + 1
        out = map1.new_empty(b, ny * TILE, nx * TILE, window, window)
        for group in _groups(map1):
            bands, rows1 = _Bands(map1[group], radius), rows_of(map1[group])
            rows2 = _with_zeros(rows_of(map2[group]), None if grid is None else places_of(grid[group]))
            for band in bands.slices:
                products = bands.product(bands.tiles(rows1, band), bands.halos(rows2, band).mT)
                into = bands.within(out[group], band)
                into.copy_(diagonals(products, radius).view(into.shape))
        return out[:, :h, :w].flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Gradients for both maps and the grid."""
        map1, map2, grid = ctx.saved_tensors
        radius: int = ctx.radius
        c, h, w = map1.shape[1:]
        high, wide, window = tiles_along(h) * TILE, tiles_along(w) * TILE, 2 * radius + 1
        # No views: autograd then adds up the gradients of several correlations in place.
        d_map1, d_map2 = (torch.empty_like(x, memory_format=torch.channels_last) for x in (map1, map2))
        d_grid = torch.empty_like(grid) if ctx.needs_input_grad[2] else None
        d_products = None  # one for all bands: zero off the diagonals
        for group in _groups(map1):
            bands, rows1, rows2 = _Bands(map1[group], radius), rows_of(map1[group]), rows_of(map2[group])
            places = None if grid is None else places_of(grid[group])
            padded = _with_zeros(rows2, places)
            grad = F.pad(grads[0][group].permute(0, 2, 3, 1), (0, 0, 0, wide - w, 0, high - h))
            grad = grad.contiguous().view(-1, high, wide, window, window)
            d_halos = map1.new_empty(bands.rows, bands.nx, bands.side**2, c)
            d_rows1, d_rows2 = (x[group].permute(0, 2, 3, 1) for x in (d_map1, d_map2))
            d_tiles = d_rows1 if (h, w) == (high, wide) else map1.new_empty(len(grad), high, wide, c)
            for band in bands.slices:
                part = bands.within(grad, band)
                tiles = part.shape[0] * part.shape[1]
                if d_products is None:
                    d_products = map1.new_zeros(tiles, TILE**2, bands.side**2)
                wanted = diagonals(d_products[:tiles], radius)
                wanted.copy_(part.reshape(wanted.shape))
                into = bands.within(d_tiles, band)
                into.copy_(bands.product(d_products[:tiles], bands.halos(padded, band)).view(into.shape))
                bands.product(d_products[:tiles].mT, bands.tiles(rows1, band), out=d_halos[band].flatten(0, 1))
            if d_tiles is not d_rows1:
                d_rows1.copy_(d_tiles[:, :h, :w])
            d_rows = folded(d_halos.view(-1, c), bands.index.folding)
            if places is None:
                d_rows2.copy_(d_rows.view(d_rows2.shape))
                continue
            d_rows, rows2 = d_rows.to(places.weight.dtype), rows2.to(places.weight.dtype)
            of_rows2 = folded(d_rows, transposed(places.rows, len(rows2)), places.weight)
            d_rows2.copy_(of_rows2.view(d_rows2.shape))
            if d_grid is not None:
                for axis, along in enumerate((places.along_x, places.along_y)):
                    slope = (d_rows * gathered(rows2, places.rows, along)).sum(-1)
                    d_grid[group][..., axis] = slope.view(-1, h, w)
        return d_map1, d_map2, d_grid, None
