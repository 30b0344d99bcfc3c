"""Local correlation, perhaps of a warped map, in the fastest form there is for device and dtype, or for a graph."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from regbench.ops.fast.correlation_graph import correlation_graph
from regbench.ops.fast.correlation_small import SMALL, SmallCorrelation
from regbench.ops.fast.correlation_tiles import TileCorrelation
from regbench.ops.fast.memory import channels_last


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
    if map1.is_cuda and map1.dtype != torch.float64 and has_triton():
        from regbench.ops.fast.correlation_triton import TritonCorrelation

        return TritonCorrelation.apply(map1, map2, grid, radius)
    form = SmallCorrelation if map1.shape[-2] * map1.shape[-1] <= SMALL else TileCorrelation
    return form.apply(map1, map2, grid, radius)


def correlated(x: Tensor) -> Tensor:
    """A map that is correlated several times, in the order of memory that the kernel is fast in; itself on a CPU.

    Channels last, a pixel's features are one transaction to read and to add to, not one for each channel.
    """
    return channels_last(x) if x.is_cuda else x


@lru_cache(maxsize=1)
def has_triton() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None
