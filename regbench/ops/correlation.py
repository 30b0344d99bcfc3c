"""Local correlation: the dot products of each feature with a window of the other map, which may be warped on the way.

Neither the windows nor the warped maps of a batch are ever in memory. A few samples at a time, features are taken as
rows, one a pixel; rows of the other map are interpolated where a grid leads; a tile of pixels is multiplied with its
halo (the tile grown by the radius), and the wanted products lie on the diagonals of that matrix, which a strided view
reads. The backward pass keeps the two maps and the grid and makes the rest again. On CUDA one Triton kernel does all
of it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
"""Side of a tile. The halo of an 8-tile at radius 4 is 16 x 16: 3.2 x the wanted products, in fast GEMMs."""

BAND = 16
"""Tiles multiplied at once, about: what is in use stays in the processor's cache."""

GROUP = 32
"""Tiles of the samples worked through at once, about: a large map alone, several small ones, whose calls cost more than
their work."""


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
        if torch.onnx.is_in_onnx_export():  # a graph knows neither strides nor a backward pass
            if grid is not None:
                map2 = F.grid_sample(map2, grid, padding_mode="border", align_corners=True)
            return _indexed(map1, map2, radius)
        if map1.is_cuda and map1.dtype != torch.float64 and _has_triton():
            from regbench.ops.correlation_triton import TritonCorrelation

            return TritonCorrelation.apply(map1, map2, grid, radius)
        return _TileCorrelation.apply(map1, map2, grid, radius)


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _tiles_along(extent: int) -> int:
    return -(-extent // TILE)


class _Transposed(NamedTuple):
    """The entries of an index in the order of the rows they name: those of row i begin at ``starts[i]``."""

    order: Tensor
    starts: Tensor


def _transposed(index: Tensor, rows: int) -> _Transposed:
    named, order = torch.sort(index.flatten(), stable=True)
    first = torch.searchsorted(named, torch.arange(rows + 1, dtype=index.dtype, device=index.device))
    return _Transposed(order.int(), first.int())


class _Layout(NamedTuple):
    """Which rows of ``n`` samples' maps, one sample after the other, make up their tiles and halos."""

    tiles: Tensor  # (n*ny, nx * T*T); what a tile reads beyond the map is cut off from the result: any row will do
    halos: Tensor  # (n*ny, nx * S*S), S = TILE + 2 radius; beyond a map lies row n*H*W, of zeros
    folding: _Transposed  # of the halos


@lru_cache(maxsize=64)
def _layout(n: int, h: int, w: int, radius: int, device: torch.device) -> _Layout:
    with torch.inference_mode(False):  # kept beyond this call, which may be part of inference
        ny, nx = _tiles_along(h), _tiles_along(w)
        first = h * w * torch.arange(n, device=device).view(-1, 1, 1, 1, 1)  # of each sample

        def cut(side: int, margin: int, outside: int) -> Tensor:
            y = TILE * torch.arange(ny, device=device)[:, None] + torch.arange(side, device=device) - margin
            x = TILE * torch.arange(nx, device=device)[:, None] + torch.arange(side, device=device) - margin
            y, x = y[:, None, :, None], x[:, None, :]
            inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
            return torch.where(inside, first + y * w + x, outside).reshape(n * ny, -1).int()

        halos = cut(TILE + 2 * radius, radius, n * h * w)
        order, starts = _transposed(halos, n * h * w)
        return _Layout(cut(TILE, 0, 0), halos, _Transposed(order[: int(starts[-1])], starts))


class _Places(NamedTuple):
    """Where grids of n samples lead: four rows for each pixel, their weights, and how these change with the grid."""

    rows: Tensor  # (n*H*W, 4) int32
    weight: Tensor  # (n*H*W, 4)
    along_x: Tensor  # (n*H*W, 4)
    along_y: Tensor  # (n*H*W, 4)


def _places(grid: Tensor) -> _Places:
    """Of grids ``(n, H, W, 2)``, with coordinates held at the border."""
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
    return _Places(
        torch.stack([above + left, above + right, below + left, below + right], dim=-1),
        torch.stack([gx * gy, fx * gy, gx * fy, fx * fy], dim=-1),
        torch.stack([-gy, gy, -fy, fy], dim=-1) * slope_x[:, None],
        torch.stack([-gx, -fx, gx, fx], dim=-1) * slope_y[:, None],
    )


def _gathered(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of rows, out[i] = sum_k weight[i, k] * rows[index[i, k]], each read where it lies."""
    return F.embedding_bag(index, rows, per_sample_weights=weight, mode="sum")


def _folded(values: Tensor, by: _Transposed, weight: Tensor | None = None) -> Tensor:
    """Sums of what was gathered from each row: the transpose of :func:`_gathered`, in a fixed order.

    Adding into rows by index takes three times as long and, in threads, has no order.
    """
    # Entry e of an index with K entries for each value belongs to value e // K.
    of_value = by.order if weight is None else by.order // weight.shape[1]
    by_entry = None if weight is None else weight.flatten()[by.order]
    return F.embedding_bag(
        of_value, values, by.starts, mode="sum", per_sample_weights=by_entry, include_last_offset=True
    )


def _rows(x: Tensor) -> Tensor:
    """(n, C, H, W) -> (n * H * W, C); a view where channels are last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _with_zeros(rows: Tensor, places: _Places | None) -> Tensor:
    """The rows, interpolated if they are to be, and a last row of zeros."""
    if places is None:
        return F.pad(rows, (0, 0, 0, 1))
    index, weight = (F.pad(x, (0, 0, 0, 1)) for x in (places.rows, places.weight))
    # Eight bits cannot address 128 pixels: half precision is interpolated in the grid's float32.
    return _gathered(rows.to(weight.dtype), index, weight).to(rows.dtype)


def _diagonals(products: Tensor, radius: int) -> Tensor:
    """View (tiles, T*T, S*S) as (tiles, T, T, 2r+1, 2r+1): product of (y, x) with (y + dy, x + dx)."""
    side, window = TILE + 2 * radius, 2 * radius + 1
    shape = (len(products), TILE, TILE, window, window)
    return products.as_strided(shape, (products.stride(0), TILE * side**2 + side, side**2 + 1, side, 1))


def _groups(maps: Tensor) -> list[slice]:
    """Samples worked through at once."""
    b, _, h, w = maps.shape
    step = max(1, GROUP // (_tiles_along(h) * _tiles_along(w)))
    return [slice(i, min(i + step, b)) for i in range(0, b, step)]


class _Bands:
    """How a group of samples is worked through: rows of tiles, about ``BAND`` tiles at once."""

    def __init__(self, maps: Tensor, radius: int) -> None:
        self.samples, self.channels, h, w = maps.shape
        self.layout = _layout(self.samples, h, w, radius, maps.device)
        self.side = TILE + 2 * radius
        self.ny, self.nx = _tiles_along(h), _tiles_along(w)
        self.rows = self.samples * self.ny
        step = max(1, BAND // self.nx)
        self.slices = [slice(y, min(y + step, self.rows)) for y in range(0, self.rows, step)]

    def tiles(self, rows: Tensor, band: slice) -> Tensor:
        """``(tiles, T*T, C)``."""
        return rows.index_select(0, self.layout.tiles[band].flatten()).view(-1, TILE**2, self.channels)

    def halos(self, rows: Tensor, band: slice) -> Tensor:
        """``(tiles, S*S, C)`` of rows that end in the row of zeros."""
        return rows.index_select(0, self.layout.halos[band].flatten()).view(-1, self.side**2, self.channels)

    def product(self, first: Tensor, second: Tensor, out: Tensor | None = None) -> Tensor:
        """Matrix products of a batch, divided by C."""
        if out is None:
            out = first.new_empty(len(first), first.shape[1], second.shape[2])
        return torch.baddbmm(out, first, second, beta=0, alpha=1 / self.channels, out=out)

    def within(self, padded: Tensor, band: slice) -> Tensor:
        """View samples (n, ny*T, nx*T, ...) as the band's tiles (rows of tiles, nx, T, T, ...)."""
        tiled = padded.view(self.rows, TILE, self.nx, TILE, *padded.shape[3:])
        return tiled[band].transpose(1, 2)


class _TileCorrelation(torch.autograd.Function):
    """Forward and backward as GEMMs of tiles with halos; kept are the two maps and the grid."""

    @staticmethod
    def forward(ctx: Any, map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
        ctx.save_for_backward(map1, map2, grid)
        ctx.radius = radius
        b, _, h, w = map1.shape
        ny, nx, window = _tiles_along(h), _tiles_along(w), 2 * radius + 1
        out = map1.new_empty(b, ny * TILE, nx * TILE, window, window)
        for group in _groups(map1):
            bands, rows1 = _Bands(map1[group], radius), _rows(map1[group])
            rows2 = _with_zeros(_rows(map2[group]), None if grid is None else _places(grid[group]))
            for band in bands.slices:
                products = bands.product(bands.tiles(rows1, band), bands.halos(rows2, band).mT)
                into = bands.within(out[group], band)
                into.copy_(_diagonals(products, radius).view(into.shape))
        return out[:, :h, :w].flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        map1, map2, grid = ctx.saved_tensors
        radius: int = ctx.radius
        c, h, w = map1.shape[1:]
        high, wide, window = _tiles_along(h) * TILE, _tiles_along(w) * TILE, 2 * radius + 1
        # No views: autograd then adds up the gradients of several correlations in place.
        d_map1, d_map2 = (torch.empty_like(x, memory_format=torch.channels_last) for x in (map1, map2))
        d_grid = torch.empty_like(grid) if ctx.needs_input_grad[2] else None
        d_products = None  # one for all bands: zero off the diagonals
        for group in _groups(map1):
            bands, rows1, rows2 = _Bands(map1[group], radius), _rows(map1[group]), _rows(map2[group])
            places = None if grid is None else _places(grid[group])
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
                diagonals = _diagonals(d_products[:tiles], radius)
                diagonals.copy_(part.reshape(diagonals.shape))
                into = bands.within(d_tiles, band)
                into.copy_(bands.product(d_products[:tiles], bands.halos(padded, band)).view(into.shape))
                bands.product(d_products[:tiles].mT, bands.tiles(rows1, band), out=d_halos[band].flatten(0, 1))
            if d_tiles is not d_rows1:
                d_rows1.copy_(d_tiles[:, :h, :w])
            d_rows = _folded(d_halos.view(-1, c), bands.layout.folding)
            if places is None:
                d_rows2.copy_(d_rows.view(d_rows2.shape))
                continue
            d_rows, rows2 = d_rows.to(places.weight.dtype), rows2.to(places.weight.dtype)
            folded = _folded(d_rows, _transposed(places.rows, len(rows2)), places.weight)
            d_rows2.copy_(folded.view(d_rows2.shape))
            if d_grid is not None:
                for axis, along in enumerate((places.along_x, places.along_y)):
                    slope = (d_rows * _gathered(rows2, places.rows, along)).sum(-1)
                    d_grid[group][..., axis] = slope.view(-1, h, w)
        return d_map1, d_map2, d_grid, None


def _indexed(map1: Tensor, map2: Tensor, radius: int) -> Tensor:
    """The same products, halos and diagonals picked by constant indices in the place of strided views."""
    b, c, h, w = map1.shape
    window, side = 2 * radius + 1, TILE + 2 * radius
    ny, nx = _tiles_along(h), _tiles_along(w)
    layout = _layout(1, h, w, radius, map1.device)

    def cut(x: Tensor, index: Tensor) -> Tensor:
        return x.flatten(2).index_select(2, index.flatten()).reshape(b, c, ny * nx, -1)

    halos = cut(F.pad(map2.flatten(2), (0, 1)), layout.halos)
    products = torch.matmul(cut(map1, layout.tiles).permute(0, 2, 3, 1) / c, halos.permute(0, 2, 1, 3))
    row, column = (torch.arange(TILE, device=map1.device) for _ in range(2))
    dy, dx = (torch.arange(window, device=map1.device) for _ in range(2))
    first = (row[:, None] * TILE + column) * side * side
    second = (row[:, None, None, None] + dy[:, None]) * side + column[:, None, None] + dx
    diagonal = (first[..., None, None] + second).flatten()
    found = products.flatten(2).index_select(2, diagonal).reshape(b, ny, nx, TILE, TILE, window, window)
    found = found.permute(0, 5, 6, 1, 3, 2, 4).reshape(b, window**2, ny * TILE, nx * TILE)
    return found[..., :h, :w]
