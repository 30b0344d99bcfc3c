"""Random numbers that belong to the images of a batch, and steps that all its images share.

Numbers are drawn on the CPU for the whole batch (see :mod:`regbench.distributed.batch`), so that an image meets the
same ones however many processes share the batch, and are then moved to where the images are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import whole_batch


def uniform(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """One number in [0, 1) for each image ``(B, C, H, W)``: ``(B, 1, 1, 1)``, of the images' dtype."""
    return whole_batch.draw(lambda n: torch.rand(n, 1, 1, 1, generator=generator), len(images), like=images)


def normal_codes(images: Tensor, length: int, generator: torch.Generator | None) -> Tensor:
    """A standard normal code for each of B images: ``(B, length)``, of the images' dtype."""
    return whole_batch.draw(lambda n: torch.randn(n, length, generator=generator), len(images), like=images)


def normal_noise(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of the images' shape and dtype."""
    return whole_batch.draw(lambda n: torch.randn(n, *images.shape[1:], generator=generator), len(images), like=images)


def random_steps(images: Tensor, low: int, high: int, generator: torch.Generator | None) -> Tensor:
    """A step number of {low, ..., high} for each of B images: ``(B,)`` int64."""
    return whole_batch.draw(lambda n: torch.randint(low, high + 1, (n,), generator=generator), len(images), like=images)


def same_step(images: Tensor, number: int) -> Tensor:
    """The same step number for each of B images: ``(B,)`` int64."""
    return torch.full((len(images),), number, device=images.device)
