"""The sequence loss of iterative estimators, and how the estimates of two scales become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from regbench import Registration, geometry

Composition = Literal["add", "compose"]


def sequence_loss(
    registration: Registration,
    displacement: Tensor,
    weight: Tensor | None,
    *,
    gamma: float,
    iterations: Sequence[int],
) -> Tensor:
    """Mean absolute error of each iteration in pixels, weighted gamma^(n - 1 - i) within each scale of n iterations.

    The exponent starts anew at each scale, so the last iteration of every scale weighs 1 (RHWF's released training).

    Args:
        registration: K estimates, K the sum of ``iterations``.
        displacement: label ``(B, 4, 2)`` pixels.
        weight: optional ``(B,)`` weight of each sample, mean one.
        gamma: in (0, 1].
        iterations: number of iterations of each scale.

    Returns:
        A scalar.
    """
    error = (registration.displacements - displacement).abs().mean(dim=(-1, -2))  # (K, B)
    if weight is not None:
        error = error * weight
    left = torch.cat([torch.arange(n - 1, -1, -1, device=error.device, dtype=error.dtype) for n in iterations])
    return (gamma**left * error.mean(dim=1)).sum()


def in_sequence(first: Tensor, second: Tensor, size: geometry.Size, composition: Composition) -> Tensor:
    """The displacement of applying ``first``, then ``second``.

    Args:
        first: ``(B, 4, 2)`` pixels.
        second: ``(B, 4, 2)`` pixels, of the frame ``first`` leads to.
        size: (height, width) of the patch.
        composition: ``compose`` multiplies the homographies, which is exact. ``add`` adds the displacements, as the
            published code does: the second is then read at the patch's corners, not where the first has moved them.

    Returns:
        ``(B, 4, 2)`` pixels.
    """
    if composition == "add":
        return first + second
    h1, h2 = (geometry.homography_from_displacement(d, size) for d in (first, second))
    return geometry.displacement_from_homography(geometry.compose(h2, h1), size)
