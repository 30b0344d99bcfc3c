"""Instance norm without affine parameters on channels-last maps, in place, a few samples at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from regbench.ops.fast.memory import cached_samples

EPS = 1e-5
"""torch's default."""


def mean_over_positions(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, 1, 1)``: first the mean of each column, then of the columns.

    A single long float32 sum would lose digits.
    """
    rows = x.permute(0, 2, 3, 1)
    b, h, w, c = rows.shape
    return rows.reshape(b, h, w * c).mean(1).view(b, w, c).mean(1)[..., None, None]


def normalise_(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Normalise ``(B, C, H, W)`` in place.

    Returns:
        The means and the reciprocal standard deviations, ``(B, C, 1, 1)`` each.
    """
    means, rates = (maps.new_empty(*maps.shape[:2], 1, 1) for _ in range(2))
    for part, mean, rate in cached_samples(maps, means, rates):
        mean.copy_(mean_over_positions(part))
        part -= mean  # before squaring: the square of a large mean would swallow the digits of a small variance
        torch.rsqrt(mean_over_positions(part * part) + EPS, out=rate)
        part *= rate
    return means, rates


def backward(grad: Tensor, normalised: Tensor, rate: Tensor, out: Tensor) -> None:
    """Write the gradient for the input of instance norm.

    Args:
        grad: gradient of the result, ``(B, C, H, W)``.
        normalised: the result, the same shape.
        rate: reciprocal standard deviations ``(B, C, 1, 1)``.
        out: where the gradient goes; may be ``grad``.
    """
    along = mean_over_positions(grad * normalised)
    torch.sub(grad, mean_over_positions(grad), out=out).addcmul_(normalised, along, value=-1).mul_(rate)
