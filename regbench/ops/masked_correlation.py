"""Cross-correlation of two masked vector fields at all shifts, by the FFT.

Source: D. Padfield, Masked object registration in the Fourier domain, IEEE TIP 21 (2012).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Surfaces(NamedTuple):
    """What two fields have in common at each shift, ``(B, H, W)``: at ``(y, x)`` the second is read y, x px further.

    Shifts are periodic: that of -1 px is the last one.
    """

    inner: Tensor
    """Inner product of the fields where both are known."""
    first: Tensor
    """Squared length of the first field there."""
    second: Tensor
    """Squared length of the second field there."""
    common: Tensor
    """Number of pixels that both know."""

    def agreement(self, floor: float) -> Tensor:
        """Normalised inner product in [-1, 1]; 0 where the lengths are below ``floor`` times the largest."""
        norm = (self.first.clamp_min(0) * self.second.clamp_min(0)).sqrt()
        least = floor * norm.amax((1, 2), keepdim=True).clamp_min(1e-6)
        return torch.where(norm > least, self.inner / norm.clamp_min(1e-9), 0.0)


def masked_spectrum(field: Tensor, mask: Tensor, size: list[int]) -> Tensor:
    """Spectrum of a field, of its squared length and of its mask.

    Args:
        field: ``(B, C, h, w)``, zero where the mask is.
        mask: ``(B, 1, h, w)``, 1 where the field is known.
        size: of the transform; at least the sum of both fields' sizes, less what may wrap around.

    Returns:
        ``(B, C + 2, size[0], size[1] // 2 + 1)`` complex.
    """
    return torch.fft.rfft2(torch.cat([field, field.square().sum(1, keepdim=True), mask], 1), s=size)


def masked_correlation(first: Tensor, second: Tensor, size: list[int]) -> Surfaces:
    """Correlate two fields at all shifts.

    Args:
        first: spectrum of :func:`masked_spectrum`.
        second: likewise, with as many channels.
        size: of the transform.
    """
    a, b = first.conj(), second
    inner = (a[:, :-2] * b[:, :-2]).sum(1)
    products = torch.stack([inner, a[:, -2] * b[:, -1], a[:, -1] * b[:, -2], a[:, -1] * b[:, -1]], 1)
    return Surfaces(*torch.fft.irfft2(products, s=size).unbind(1))
