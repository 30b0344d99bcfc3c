"""Edge orientations, which modalities share where their grey values do not: agreement of two images, and their shift.

The field of an image holds, at every pixel, the doubled angle of the gradient as a vector whose length says how strong
the edge is beside the image's typical one. Doubling makes a bright-to-dark edge equal to a dark-to-bright one, the
length makes contrast irrelevant. Two fields agree by their normalised inner product.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA = 1.0
"""Blur before the gradient, px."""


def edge_field(images: Tensor) -> Tensor:
    """Doubled-angle orientation vectors.

    Args:
        images: ``(B, C, H, W)`` float; channels are averaged.

    Returns:
        ``(B, 2, H, W)``: cos and sin of twice the gradient's angle, times g / (g + mean g) in [0, 1) where g is its
        magnitude. Zero where the image is flat, and within 2 px of the border.
    """
    grey = images.float().mean(1, keepdim=True)
    taps = torch.arange(-3, 4, device=grey.device, dtype=grey.dtype)
    blur = torch.exp(-0.5 * (taps / SIGMA) ** 2)
    blur = blur / blur.sum()
    padded = F.pad(grey, (3, 3, 3, 3), mode="replicate")
    smooth = F.conv2d(F.conv2d(padded, blur.view(1, 1, 1, -1)), blur.view(1, 1, -1, 1))
    gx = F.pad(smooth[..., 2:] - smooth[..., :-2], (1, 1))
    gy = F.pad(smooth[..., 2:, :] - smooth[..., :-2, :], (0, 0, 1, 1))
    magnitude = torch.hypot(gx, gy)
    typical = magnitude.mean((-2, -1), keepdim=True)
    scale = 1.0 / (magnitude * (magnitude + typical)).clamp_min(1e-12)
    field = torch.cat([gx * gx - gy * gy, 2 * gx * gy], 1) * scale
    inner = torch.zeros_like(grey[:1])
    inner[..., 2:-2, 2:-2] = 1
    return field * inner


def edge_agreement(first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
    """How well the edge orientations of two fields agree, ``(B,)`` in [-1, 1].

    Args:
        first: ``(B, 2, H, W)`` of :func:`edge_field`.
        second: of the same shape.
        mask: ``(B, 1, H, W)``, where to look; everywhere when None.

    Returns:
        1 for the same edges, 0 for unrelated ones (or none), -1 for perpendicular ones.
    """
    if mask is not None:
        first, second = first * mask, second * mask
    product = (first * second).sum((1, 2, 3))
    norms = first.square().sum((1, 2, 3)) * second.square().sum((1, 2, 3))
    return product / norms.clamp_min(1e-12).sqrt()


def edge_shift(first: Tensor, second: Tensor, reach: int = 8) -> tuple[Tensor, Tensor]:
    """The one shift that best matches two fields: where a place of the first lies in the second.

    Args:
        first: ``(B, 2, H, W)`` of :func:`edge_field`, perhaps masked.
        second: of the same shape.
        reach: largest shift tried in x and in y, px.

    Returns:
        shift ``(B, 2)`` px, x then y, refined between pixels by a parabola in each direction; agreement ``(B,)`` at
        the best whole shift.
    """
    h, w = first.shape[-2:]
    size = (h + reach, w + reach)  # zeros between the copies: no shift within reach wraps around
    spectrum = torch.fft.rfft2(first, s=size).conj() * torch.fft.rfft2(second, s=size)
    scores = torch.fft.irfft2(spectrum.sum(1), s=size)
    scores = torch.roll(scores, (reach, reach), (-2, -1))[..., : 2 * reach + 1, : 2 * reach + 1]
    norms = first.square().sum((1, 2, 3)) * second.square().sum((1, 2, 3))
    scores = scores / norms.clamp_min(1e-12).sqrt()[:, None, None]
    side = 2 * reach + 1
    best = scores.flatten(1).argmax(1)
    y, x = best // side, best % side
    rows = torch.arange(len(best), device=best.device)
    peak = scores[rows, y, x]
    padded = F.pad(scores, (1, 1, 1, 1), value=torch.nan)  # no refinement where a neighbour was not tried
    dx = _vertex(padded[rows, y + 1, x], peak, padded[rows, y + 1, x + 2])
    dy = _vertex(padded[rows, y, x + 1], peak, padded[rows, y + 2, x + 1])
    return torch.stack([x - reach + dx, y - reach + dy], -1), peak


def _vertex(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
    """Place of the top of a parabola through three equidistant values, relative to the middle one."""
    curve = before - 2 * peak + after
    return torch.where(curve < 0, 0.5 * (before - after) / curve, torch.zeros_like(curve)).clamp(-0.5, 0.5)
