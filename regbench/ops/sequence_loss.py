"""The sequence loss of iterative estimators (RAFT, IHN, RHWF): later estimates weigh more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sequence_loss(
    estimates: Tensor,
    displacement: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float = 0.85,
    iterations: Sequence[int] | None = None,
) -> Tensor:
    """Mean absolute error of each estimate, weighted as :func:`decayed_sum` weights it.

    Args:
        estimates: ``(K, B, 4, 2)`` pixels, in the order in which they were made.
        displacement: label ``(B, 4, 2)`` pixels.
        weight: optional ``(B,)`` weight of each sample, mean one.
        gamma: in (0, 1]; 0.85 in IHN and RHWF.
        iterations: number of iterations of each scale, K in total; None: one scale.

    Returns:
        A scalar, in pixels.
    """
    error = (estimates - displacement).abs().mean(dim=(-1, -2))  # (K, B)
    if weight is not None:
        error = error * weight
    return decayed_sum(error.mean(dim=1), gamma=gamma, iterations=iterations)


def decayed_sum(errors: Tensor, *, gamma: float, iterations: Sequence[int] | None = None) -> Tensor:
    """Sum of errors, one an iteration, weighted gamma^(n - 1 - i) within each scale of n iterations.

    The exponent starts anew at each scale, so the last iteration of every scale weighs 1 (RHWF's released training).

    Args:
        errors: ``(K,)``, the batch's mean error of each iteration.
        gamma: in (0, 1].
        iterations: number of iterations of each scale, K in total; None: one scale.

    Returns:
        A scalar.
    """
    counts = [len(errors)] if iterations is None else iterations
    left = torch.cat([torch.arange(n - 1, -1, -1, device=errors.device, dtype=errors.dtype) for n in counts])
    return (gamma**left * errors).sum()
