"""The part of an all-pairs correlation volume that lookups near the identity read.

Each tile of the source is correlated with a box of the target around it: 39 % of the volume of a 64 x 64 map. Boxes are
cut out of columns of the target, in which a box's rows are contiguous; a tile and its box are one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

TILE = 8
"""Side of a tile of the source."""

REACH = 5
"""How far, in pixels of the map, a flow may lead a position for its windows to lie in the box."""


class Boxes(NamedTuple):
    """Where the boxes of a map's tiles lie: each tile grown by the same margin, moved inwards at the borders."""

    size: tuple[int, int]  # of the map
    margin: int
    side: int

    @classmethod
    def of_maps(cls, size: tuple[int, int], radius: int) -> Boxes | None:
        """Boxes that hold the windows of two levels; None where they would not save half of the volume.

        Around c the window of the pooled level reads pixels c - 2 radius - 2 to c + 2 radius + 3.

        Args:
            size: (height, width) of the maps.
            radius: half side of the windows.
        """
        margin = 2 * radius + 3 + REACH
        margin += margin % 2  # pooling starts at an even pixel
        side = TILE + 2 * margin
        fits = all(extent % TILE == 0 and extent >= side for extent in size)
        return cls(size, margin, side) if fits and 2 * side**2 <= size[0] * size[1] else None

    def origins(self, axis: int) -> list[int]:
        """First pixel of each box along an axis of the map."""
        last = self.size[axis] - self.side
        return [min(max(0, first - self.margin), last) for first in range(0, self.size[axis], TILE)]

    def corner(self, device: torch.device) -> Tensor:
        """First pixel of each tile's box, x then y: ``(ny, nx, 2)`` float32."""
        y, x = (torch.tensor(self.origins(axis), dtype=torch.float32, device=device) for axis in range(2))
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def tiled(x: Tensor) -> Tensor:
    """``(B, h, w, ...)`` to ``(B, ny, nx, T, T, ...)``; a view."""
    b, h, w = x.shape[:3]
    return x.reshape(b, h // TILE, TILE, w // TILE, TILE, *x.shape[3:]).transpose(2, 3)


def near_pairs(source: Tensor, target: Tensor, boxes: Boxes) -> Tensor:
    """Relu of the dot products of each position of the source with those of its tile's box.

    Args:
        source: ``(B, C, h, w)``.
        target: ``(B, C, h, w)``.
        boxes: those of maps of this size.

    Returns:
        ``(B, ny, nx, T*T, S*S)``, S the side of a box.
    """
    return _NearPairs.apply(source, target, boxes)


def _tile_rows(source: Tensor) -> Tensor:
    """``(B, C, h, w)`` to the features of each tile, ``(B, ny, nx, T*T, C)``."""
    return tiled(source.permute(0, 2, 3, 1)).flatten(3, 4)


def _box_columns(maps: Tensor, boxes: Boxes) -> Iterator[tuple[int, int, Tensor]]:
    """Index of the sample, index of the column of tiles, and its column of boxes ``(h, S, C)``, a view of the maps."""
    for sample in range(len(maps)):
        for j, x in enumerate(boxes.origins(1)):
            yield sample, j, maps[sample, :, :, x : x + boxes.side].permute(1, 2, 0)


class _NearPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, target: Tensor, boxes: Boxes) -> Tensor:
        tiles = _tile_rows(source)
        out = source.new_empty(*tiles.shape[:4], boxes.side**2)
        for sample, j, column in _box_columns(target, boxes):
            column = column.contiguous()
            for i, y in enumerate(boxes.origins(0)):
                products = out[sample, i, j]
                torch.mm(tiles[sample, i, j], column[y : y + boxes.side].flatten(0, 1).T, out=products).relu_()
        ctx.save_for_backward(source, target, out)
        ctx.boxes = boxes
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        source, target, out = ctx.saved_tensors
        boxes: Boxes = ctx.boxes
        tiles = _tile_rows(source)
        d_tiles = torch.empty_like(tiles)
        d_target = torch.zeros_like(target)
        into = _box_columns(d_target, boxes)
        for (sample, j, column), (*_, d_target_column) in zip(_box_columns(target, boxes), into, strict=True):
            column = column.contiguous()
            d_column = torch.zeros_like(column)
            for i, y in enumerate(boxes.origins(0)):
                grad = grads[0][sample, i, j] * (out[sample, i, j] > 0)
                torch.mm(grad, column[y : y + boxes.side].flatten(0, 1), out=d_tiles[sample, i, j])
                d_column[y : y + boxes.side].flatten(0, 1).addmm_(grad.T, tiles[sample, i, j])
            d_target_column += d_column
        h, w = boxes.size
        d_source = torch.unflatten(d_tiles, 3, (TILE, TILE)).transpose(2, 3).reshape(len(source), h, w, -1)
        return d_source.permute(0, 3, 1, 2), d_target, None
