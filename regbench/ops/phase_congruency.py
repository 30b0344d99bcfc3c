"""Phase congruency: where the Fourier components of an image are in phase, whatever their contrast.

Kovesi's measure (phasecong3) on the log-Gabor bank of :mod:`regbench.ops.log_gabor`, at the parameters of RIFT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.ops.log_gabor import PAD, log_gabor_bank

_EPSILON = 1e-4  # of Kovesi's code, for images in [0, 255]


@dataclass(frozen=True)
class PhaseCongruency:
    """What one pass over the filter bank gives.

    Attributes:
        maximum: ``(B, 1, H, W)`` maximum moment of the covariance over orientations: strength of an edge, at least 0.
        minimum: ``(B, 1, H, W)`` minimum moment: strength of a corner. Slightly below 0 where nothing is.
        amplitude: ``(B, orientations, H, W)`` amplitudes summed over scales, as :func:`regbench.ops.amplitudes` gives
            for a picture in [0, 255]; their argmax is the index map of RIFT.
    """

    maximum: Tensor
    minimum: Tensor
    amplitude: Tensor


def phase_congruency(
    grey: Tensor,
    scales: int = 4,
    orientations: int = 6,
    mult: float = 1.6,
    *,
    noise: float = 1.0,
    cut_off: float = 0.5,
    gain: float = 3.0,
) -> PhaseCongruency:
    """Moments of phase congruency (Kovesi, DICTA 2003; noise compensation of phasecong3, 2009).

    For each orientation the local energy over scales, less what noise would give, is divided by the summed amplitude
    and weighted down where few frequencies contribute. The image is reflected by 16 px before the FFT.

    Args:
        grey: ``(B, 1, H, W)`` in [0, 1]; both sides larger than 16 px.
        scales: number of wavelengths, at least 2.
        orientations: number of directions.
        mult: ratio of one wavelength to the next.
        noise: standard deviations of the noise's energy beyond its mean that are subtracted (Kovesi's k).
        cut_off: spread of frequencies, 0 to 1, below which the measure is weighted down.
        gain: sharpness of that weight (Kovesi's g).

    Returns:
        Both moments and the amplitudes, float32. Finite for flat images.

    Raises:
        ValueError: not one channel, or fewer than two scales.
    """
    if grey.ndim != 4 or grey.shape[1] != 1:
        raise ValueError(f"grey must be (B, 1, H, W), got {tuple(grey.shape)}")
    if scales < 2:
        raise ValueError("phase congruency needs at least two scales")
    h, w = grey.shape[-2:]
    cxx = cyy = cxy = torch.zeros((), device=grey.device)
    sums = []
    with torch.autocast(grey.device.type, enabled=False):  # no half-precision FFT
        padded = F.pad(255.0 * grey.float(), (PAD,) * 4, mode="reflect")
        bank = log_gabor_bank(*padded.shape[-2:], scales, orientations, mult=mult, device=grey.device)
        spectrum = torch.fft.fft2(padded)  # (B, 1, H', W')
        inner = (..., slice(PAD, PAD + h), slice(PAD, PAD + w))
        for o in range(orientations):
            response = torch.fft.ifft2(spectrum * bank[o])  # (B, S, H', W')
            noise_energy = _noise_energy(response[:, 0].abs(), scales, mult, noise)
            response = response[inner].contiguous()  # the margin has served the FFT and the noise
            amplitude = response.abs()
            total, largest = amplitude.sum(dim=1), amplitude.amax(dim=1)
            mean = response.sum(dim=1)
            unit = mean / (mean.abs() + _EPSILON)
            # Product with the conjugate of the mean direction: its cosine part less the modulus of its sine part.
            turned = response * unit.conj().unsqueeze(1)
            energy = ((turned.real - turned.imag.abs()).sum(dim=1) - noise_energy).clamp_min(0)
            width = (total / (largest + _EPSILON) - 1) / (scales - 1)
            congruency = torch.sigmoid(gain * (width - cut_off)) * energy / total.clamp_min(_EPSILON)
            angle = o * math.pi / orientations
            x, y = congruency * math.cos(angle), congruency * math.sin(angle)
            cxx, cyy, cxy = cxx + x * x, cyy + y * y, cxy + x * y
            sums.append(total)
        half = orientations / 2
        cxx, cyy, cxy = cxx / half, cyy / half, 2 * cxy / half
        spread = torch.sqrt(cxy**2 + (cxx - cyy) ** 2) + _EPSILON
        maximum, minimum = ((cxx + cyy + sign * spread).unsqueeze(1) / 2 for sign in (1, -1))
        return PhaseCongruency(maximum, minimum, torch.stack(sums, dim=1))


def _noise_energy(finest: Tensor, scales: int, mult: float, deviations: float) -> Tensor:
    """Energy ``(B, 1, 1)`` that noise reaches, from the amplitudes ``(B, H, W)`` of the finest scale.

    The amplitude of Gaussian noise is Rayleigh distributed; its parameter follows from the median, and falls from
    scale to scale as the bandwidth does.
    """
    tau = finest.flatten(1).median(dim=1).values / math.sqrt(math.log(4))
    total = tau * (1 - mult**-scales) / (1 - 1 / mult)
    energy = total * (math.sqrt(math.pi / 2) + deviations * math.sqrt((4 - math.pi) / 2))
    return energy[:, None, None]
