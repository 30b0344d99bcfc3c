"""Batched log-Gabor filter bank, and the maximum index map (MIM) that is made of its amplitudes.

The bank is Kovesi's (phasecong3) at the parameters of RIFT (Li, Hu, Ai 2020): radial log-Gabor times an angular raised
cosine that is zero on the other side of the spectrum, so that the response is complex, its modulus the local amplitude.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

PAD = 16
"""Pixels of reflection around the image: the FFT is periodic, and without a margin half of an 8 px rim is wrong."""


@lru_cache(maxsize=16)
def log_gabor_bank(
    height: int,
    width: int,
    scales: int = 4,
    orientations: int = 6,
    min_wavelength: float = 3.0,
    mult: float = 1.6,
    sigma_on_f: float = 0.75,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Transfer functions ``(orientations, scales, height, width)``, float32, zero frequency first.

    Args:
        height: of the (padded) image, px.
        width: of the (padded) image, px.
        scales: number of wavelengths ``min_wavelength * mult^s``, px.
        orientations: number of directions, ``pi / orientations`` apart.
        min_wavelength: px.
        mult: ratio of one wavelength to the next.
        sigma_on_f: bandwidth; the ratio of the Gaussian's spread to its centre in log frequency.
        device: where it is used.
    """
    with torch.inference_mode(False):  # cached, so it must serve training too
        fx, fy = (torch.fft.fftfreq(n, device=device, dtype=torch.float64) for n in (width, height))
        y, x = torch.meshgrid(-fy, fx, indexing="ij")  # the y axis points down in images
        radius, theta = torch.hypot(x, y), torch.atan2(y, x)
        radius[0, 0] = 1.0
        low_pass = 1.0 / (1.0 + (radius / 0.45) ** 30)
        centre = 1.0 / (min_wavelength * mult ** torch.arange(scales, device=device, dtype=torch.float64))
        ratio = torch.log(radius / centre.view(-1, 1, 1)) / math.log(sigma_on_f)
        radial = torch.exp(-(ratio**2) / 2) * low_pass
        radial[:, 0, 0] = 0.0
        angle = torch.arange(orientations, device=device, dtype=torch.float64) * math.pi / orientations
        offset = theta - angle.view(-1, 1, 1)
        away = torch.atan2(torch.sin(offset), torch.cos(offset)).abs()
        spread = (1.0 + torch.cos((away * orientations / 2).clamp(max=math.pi))) / 2
        return (spread[:, None] * radial[None]).float()


def amplitudes(
    grey: Tensor,
    scales: int = 4,
    orientations: int = 6,
    min_wavelength: float = 3.0,
    mult: float = 1.6,
    sigma_on_f: float = 0.75,
) -> Tensor:
    """Amplitude of each orientation, summed over scales.

    Args:
        grey: ``(B, 1, H, W)``, any range; both sides larger than 16 px.
        scales: number of wavelengths of the bank; the settings that follow are those of :func:`log_gabor_bank`.
        orientations: number of directions.
        min_wavelength: px.
        mult: ratio of one wavelength to the next.
        sigma_on_f: bandwidth.

    Returns:
        ``(B, orientations, H, W)`` float32. Differentiable.
    """
    if grey.ndim != 4 or grey.shape[1] != 1:
        raise ValueError(f"grey must be (B, 1, H, W), got {tuple(grey.shape)}")
    h, w = grey.shape[-2:]
    with torch.autocast(grey.device.type, enabled=False):  # no half-precision FFT
        padded = F.pad(grey.float(), (PAD,) * 4, mode="reflect")
        size = (padded.shape[-2], padded.shape[-1])
        bank = log_gabor_bank(*size, scales, orientations, min_wavelength, mult, sigma_on_f, device=grey.device)
        spectrum = torch.fft.fft2(padded)  # (B, 1, H', W')
        # One orientation at a time: the complex response of all of them would be 24 images per image.
        responses = (torch.fft.ifft2(spectrum * bank[o]) for o in range(orientations))
        inner = (response[..., PAD : PAD + h, PAD : PAD + w] for response in responses)
        return torch.stack([response.abs().sum(dim=1) for response in inner], dim=1)


def to_grey(image: Tensor) -> Tensor:
    """``(B, 3, H, W)`` to ``(B, 1, H, W)``, ITU-R 601 luma; replicated grey comes back unchanged."""
    red, green, blue = image.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def maximum_index_map(
    image: Tensor,
    kind: str = "value",
    scales: int = 4,
    orientations: int = 6,
    min_wavelength: float = 3.0,
    mult: float = 1.6,
    sigma_on_f: float = 0.75,
) -> Tensor:
    """The MIM of a batch of images, normalised to [-1, 1] (CoLReg, eqs. 7 and 13).

    The paper's name and its source (RIFT) mean the index of the strongest orientation, its equation 7 the strongest
    value. The value is the default: it is continuous and nearly equivariant under warps, which an L1 loss and a
    bilinear warp need. ``index`` and ``vector`` are for ablations. Warp an index map by nearest neighbour: the mean of
    two indices is the index of a third orientation.

    Args:
        image: ``(B, 3, H, W)`` or ``(B, 1, H, W)``.
        kind: ``value``: the largest amplitude, min-max normalised per sample; ``index``: its orientation, 0..N-1
            scaled to [-1, 1]; ``vector``: the amplitude-weighted doubled angle, two channels (not in the paper).
        scales: number of wavelengths of the bank; the settings that follow are those of :func:`log_gabor_bank`.
        orientations: number of directions; at least 2 for ``index``.
        min_wavelength: px.
        mult: ratio of one wavelength to the next.
        sigma_on_f: bandwidth.

    Returns:
        ``(B, 1, H, W)``, two channels for ``vector``; float32 in [-1, 1].

    Raises:
        ValueError: an unknown kind, or one orientation for ``index``.
    """
    if kind == "index" and orientations < 2:
        raise ValueError("the index of the strongest orientation needs at least two orientations")
    grey = to_grey(image) if image.shape[1] == 3 else image
    amplitude = amplitudes(grey, scales, orientations, min_wavelength, mult, sigma_on_f)
    if kind == "value":
        value = amplitude.amax(dim=1, keepdim=True)
        low, high = value.amin(dim=(-2, -1), keepdim=True), value.amax(dim=(-2, -1), keepdim=True)
        return 2 * (value - low) / (high - low).clamp_min(1e-6) - 1
    if kind == "index":
        return 2 * amplitude.argmax(dim=1, keepdim=True).float() / (orientations - 1) - 1
    if kind == "vector":
        angle = 2 * math.pi * torch.arange(orientations, device=amplitude.device) / orientations
        total = amplitude.sum(dim=1, keepdim=True).clamp_min(1e-6)
        angle = angle.view(1, -1, 1, 1)
        vector = [(amplitude * f(angle)).sum(dim=1, keepdim=True) / total for f in (torch.cos, torch.sin)]
        return torch.cat(vector, dim=1)
    raise ValueError(f"unknown kind of MIM {kind!r}: value, index or vector")
