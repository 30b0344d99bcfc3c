"""Batches that several processes share (torchrun), for whatever must see, or draw for, the whole batch.

In a training step each of P processes holds every P-th sample of the batch, beginning with the one of its rank. Taken
in turn rather than in blocks, two images concatenated along the batch, or a batch made of two halves, are the same in
each process as in the whole.

The gradient of a step is the mean of those of the processes. A loss that is a mean over samples therefore needs nothing
of this module. One that couples samples goes through :func:`gather` or :func:`total`, and random numbers that belong to
samples through :func:`draw`, so that a sample meets the same ones however many processes there are. What is drawn for
the batch as a whole needs nothing: all processes draw alike.

In a run of one process, and outside of training steps, a batch is whole and everything here returns what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regbench.distributed.rank import Place

_place = Place()  # a global, not a context variable: a backward pass on a GPU runs in a thread of its own


@contextmanager
def shared_by(place: Place) -> Iterator[None]:
    """Batches are shared from here on, of which this process holds the part of its place."""
    global _place
    before, _place = _place, place
    try:
        yield
    finally:
        _place = before


def processes() -> int:
    """How many processes share a batch at this moment."""
    return _place.processes


def gather(x: Tensor, dim: int = 0) -> Tensor:
    """The samples of all processes along ``dim``, in the order of the whole batch; the same in every process.

    The gradient comes back to each process from the losses of all: a loss of gathered values, which every process
    computes, counts once when gradients are averaged.

    Args:
        x: this process's samples; of one shape in all processes.
        dim: of the samples, not negative.
    """
    if _place.processes == 1:
        return x
    found: Tensor = _Gather.apply(x, dim)
    return found


def total(x: Tensor) -> Tensor:
    """Sum of a tensor over the processes, element by element: numerator or denominator of a ratio over the batch."""
    return x if _place.processes == 1 else gather(x[None]).sum(dim=0)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over all elements of the whole batch by their weight, a scalar; zero, not undefined, where nothing counts.

    Args:
        values: of any shape.
        weight: not negative, of the same shape; a sum below one counts as one.
    """
    return total((values * weight).sum()) / total(weight.sum()).clamp_min(1.0)


def rows() -> slice:
    """Which samples of a batch are this process's."""
    return slice(_place.rank, None, _place.processes)


def own(whole: Tensor, dim: int = 0) -> Tensor:
    """This process's samples of a tensor that holds those of all along ``dim``."""
    return whole if _place.processes == 1 else whole[(slice(None),) * dim + (rows(),)]


def draw(sample: Callable[[int], Tensor], count: int, dim: int = 0) -> Tensor:
    """Random numbers for this process's ``count`` samples, drawn for the whole batch.

    Args:
        sample: makes those of a number of samples, such as ``lambda n: torch.rand(n, 2, generator=generator)``.
        count: samples of this process.
        dim: along which ``sample`` counts them.
    """
    return own(sample(count * _place.processes), dim)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        from torch import distributed

        ctx.rows = (slice(None),) * dim + (rows(),)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(_place.processes)]
        distributed.all_gather(parts, x.contiguous())
        return torch.stack(parts, dim + 1).flatten(dim, dim + 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        from torch import distributed

        summed = grads[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed[ctx.rows], None
