"""The order of a map's numbers in memory, and how many of them are worked on at once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CACHED = 2**19
"""Numbers of a map worked on at once, about: they stay in the processor's cache from one pass to the next."""


def channels_last(x: Tensor) -> Tensor:
    """The map ``(B, C, H, W)`` with channels last in memory; itself where it has them there."""
    return x.contiguous(memory_format=torch.channels_last)


def cached_samples(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of the same few samples of each map, at most :data:`CACHED` numbers of the first map at once."""
    step = max(1, CACHED // maps[0][0].numel())
    return iter([maps]) if step >= len(maps[0]) else zip(*(torch.split(x, step) for x in maps), strict=True)
