"""The order of a map's numbers in memory, and how many of them are worked on at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CACHED = 2**19
"""Numbers of a map worked on at once, about: they stay in the processor's cache from one pass to the next."""

SMALL = 32 * 32
"""Positions of a small map. Recomputing a small map takes longer than it is worth in memory."""


def small(x: Tensor) -> bool:
    """Whether the map ``(B, C, H, W)`` is small: what suits large maps best does not suit it."""
    return x.shape[2] * x.shape[3] <= SMALL


def channels_last(x: Tensor) -> Tensor:
    """The map ``(B, C, H, W)`` with channels last in memory; itself where it has them there."""
    return x.contiguous(memory_format=torch.channels_last)


def relu_gradient(grad: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """The gradient for ``x`` of ``relu(x)``: ten times as fast as a product with ``x > 0``.

    Args:
        grad: gradient of the result.
        x: the input, or the result.
        out: where the gradient goes; may be ``grad``.
    """
    if out is None:
        return torch.ops.aten.threshold_backward(grad, x, 0)
    return torch.ops.aten.threshold_backward.grad_input(grad, x, 0, grad_input=out)


def cached_samples(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of the same few samples of each map, at most :data:`CACHED` numbers of the first map at once."""
    step = max(1, CACHED // maps[0][0].numel())
    return iter([maps]) if step >= len(maps[0]) else zip(*(torch.split(x, step) for x in maps), strict=True)
