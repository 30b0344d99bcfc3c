"""Batches that several processes share (torchrun): operators for code that must see the whole batch, or draw for it.

In a training step each of P processes holds every P-th sample of the batch, from the sample of its own rank on. Samples
are dealt in turn rather than in blocks, so that two images concatenated along the batch, or a batch made of two halves,
are divided alike.

The trainer averages the gradients of all processes. A loss that is a mean over samples therefore needs nothing from
this module. A loss that couples samples goes through :func:`gather` or :func:`total`. Random numbers that belong to
samples go through :func:`draw`, so that a sample meets the same numbers however many processes there are. Numbers drawn
for the batch as a whole need nothing: all processes draw alike.

In a run of one process, and outside of training steps, a batch is whole: every function returns what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regbench.devices import to_device
from regbench.distributed.rank import Rank

_rank = Rank()  # a global, not a context variable: a backward pass on a GPU runs in a thread of its own


@contextmanager
def sharing_batches(rank: Rank) -> Iterator[None]:
    """While entered, this process holds its own samples of every batch, and the other processes hold the rest."""
    global _rank
    before, _rank = _rank, rank
    try:
        yield
    finally:
        _rank = before


def processes() -> int:
    """How many processes share a batch at this moment."""
    return _rank.processes


def gather(x: Tensor, dim: int = 0) -> Tensor:
    """The samples of all processes along ``dim``, in the order of the whole batch; the same in every process.

    Differentiable: each process receives the gradients of the losses of all processes. A loss of gathered values, which
    every process computes, counts once when the trainer averages gradients.

    Args:
        x: this process's samples; the shape is the same in all processes.
        dim: dimension of the samples, not negative.

    Returns:
        ``x`` with P times as many samples.
    """
    if _rank.processes == 1:
        return x
    whole: Tensor = _Gather.apply(x, dim)
    return whole


def total(x: Tensor) -> Tensor:
    """Sum of a tensor over the processes, element by element, such as the numerator of a ratio over the batch."""
    return x if _rank.processes == 1 else gather(x[None]).sum(dim=0)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over all elements of the whole batch.

    Args:
        values: of any shape.
        weight: of the same shape, not negative; a sum below one counts as one.

    Returns:
        A scalar; 0 where all weights are 0.
    """
    return total((values * weight).sum()) / total(weight.sum()).clamp_min(1.0)


def rows() -> slice:
    """The slice of a whole batch that this process holds."""
    return slice(_rank.number, None, _rank.processes)


def own(whole: Tensor, dim: int = 0) -> Tensor:
    """This process's samples of a tensor that holds the whole batch along ``dim``."""
    return whole if _rank.processes == 1 else whole[(slice(None),) * dim + (rows(),)]


def draw(sample: Callable[[int], Tensor], count: int, dim: int = 0, *, like: Tensor | None = None) -> Tensor:
    """Random numbers for this process's ``count`` samples, drawn for the whole batch.

    Args:
        sample: draws for ``n`` samples, such as ``lambda n: torch.rand(n, 2, generator=generator)``.
        count: number of samples this process holds.
        dim: dimension of the samples in what ``sample`` returns.
        like: a tensor on whose device the numbers are needed; they get there without a wait for it, in its dtype where
            both hold fractions. None leaves them where they were drawn.
    """
    drawn = own(sample(count * _rank.processes), dim)
    if like is None:
        return drawn
    both = drawn.is_floating_point() and like.is_floating_point()
    return to_device(drawn, like.device, like.dtype if both else None)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        from torch import distributed

        ctx.rows = (slice(None),) * dim + (rows(),)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(_rank.processes)]
        distributed.all_gather(parts, x.contiguous())
        return torch.stack(parts, dim + 1).flatten(dim, dim + 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        from torch import distributed

        summed = grads[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed[ctx.rows], None
