"""Local correlation, perhaps of a warped map, in the fastest form there is for device and dtype, or for a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from regbench.ops.fast.correlation_graph import correlation_graph
from regbench.ops.fast.correlation_small import SMALL, SmallCorrelation
from regbench.ops.fast.correlation_tiles import TileCorrelation
from regbench.ops.fast.kernels import triton_usable


def correlation(map1: Tensor, map2: Tensor, grid: Tensor | None, radius: int) -> Tensor:
    """As :func:`regbench.ops.local_correlation`, or, with a grid, as :func:`regbench.ops.warped_correlation`.

    Args:
        map1: ``(B, C, H, W)``; channels last is fastest.
        map2: the same shape.
        grid: ``(B, H, W, 2)`` or None.
        radius: half side of the window.

    Returns:
        ``(B, (2 radius + 1)^2, H, W)``.
    """
    if torch.onnx.is_in_onnx_export():
        return correlation_graph(map1, map2, grid, radius)
    if triton_usable(map1):
        from regbench.ops.fast.correlation_triton import TritonCorrelation

        return TritonCorrelation.apply(map1, map2, grid, radius)
    form = SmallCorrelation if map1.shape[-2] * map1.shape[-1] <= SMALL else TileCorrelation
    return form.apply(map1, map2, grid, radius)
