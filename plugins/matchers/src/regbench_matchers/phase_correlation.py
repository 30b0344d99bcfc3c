"""Fourier-Mellin registration: rotation and scale from log-polar spectra, then translation, by phase correlation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from regbench import ComponentConfig, Registration, Registrator, geometry
from regbench.ops import to_grey

_UPSAMPLING = 32  # peaks are refined on a grid of 1/32 px
_REACH = 1.0  # px around the whole-pixel peak that the grid covers
_LEAST = 16  # px a side: of fewer, the log-polar map and the peak's noise are those of a handful of frequencies


class PhaseCorrelationConfig(ComponentConfig):
    """Settings of both correlations."""

    angles: int = Field(360, ge=16, description="bins of the log-polar map over half a turn")
    radii: int = Field(128, ge=16, description="bins of the log-polar map over the logarithm of frequency")
    max_scale: float = Field(2.0, gt=1, description="largest change of scale, either way")
    bandwidth: float = Field(0.2, gt=0, description="spread of the Gaussian weight of frequencies, cycles/px")
    passes: int = Field(3, ge=1, description="further passes that estimate the remaining motion")
    peak: float = Field(
        12.0, gt=0, description="a pair fails below this peak of the translation, in standard deviations of noise"
    )


class PhaseCorrelation(Registrator):
    """Similarity by phase correlation (Reddy and Chatterji, TIP 1996), as a homography.

    The spectra's moduli, high-pass weighted, are sampled on a log-polar grid, on which rotation and scale are shifts.
    This leaves the rotation ambiguous by half a turn: both angles, and no rotation, are tried, and the highest peak of
    the translation decides. Further passes warp the source by the estimate, so that both windows show the same content,
    and estimate the remaining motion; a pass that does not raise the peak is dropped. Peaks are refined on a grid of
    1/32 px by a matrix-multiplication Fourier transform (Guizar-Sicairos et al., Optics Letters 2008).

    A Gaussian weighs the cross-power spectra, whose high frequencies are noise of unit modulus. The best of several
    correlations of unrelated noise peaks at 5 to 8 standard deviations, that of equal images at 40 (64 px) to 100
    (160 px); a pair below ``peak`` fails. Perspective is not estimated.
    """

    Config = PhaseCorrelationConfig
    config: PhaseCorrelationConfig
    any_size = True

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False for pairs whose peak does not exceed the noise."""
        size = (source.shape[-2], source.shape[-1])
        if min(*size, *target.shape[-2:]) < _LEAST:
            failed = torch.zeros(source.shape[0], dtype=torch.bool, device=source.device)
            return Registration(source.new_zeros(1, source.shape[0], 4, 2), size, failed)
        # One pair at a time: in another batch an FFT may round differently and move a peak.
        estimates = [self._estimate(source[i : i + 1], target[i : i + 1]) for i in range(source.shape[0])]
        homography = torch.cat([h for h, _ in estimates])
        peak = torch.cat([p for _, p in estimates])
        displacement = geometry.displacement_from_homography(homography, size)
        ok = (peak >= self.config.peak) & geometry.is_convex(displacement, size)
        displacement = torch.where(ok[:, None, None], displacement, 0.0).to(source.dtype)
        return Registration(displacement.unsqueeze(0), size, ok)

    def _estimate(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Homography ``(1, 3, 3)`` float64 and peak ``(1,)`` of one pair."""
        source, target = (_centred(to_grey(image).double()) for image in (source, target))
        side = max(*source.shape[-2:], *target.shape[-2:])
        target_spectrum = _spectrum(target, side)
        best = torch.eye(3, dtype=torch.float64, device=source.device)[None]
        best, height = self._shifted(source, target_spectrum, best, target.shape[-2:], side)
        for _ in range(self.config.passes):
            moved = geometry.warp(source, best, (target.shape[-2], target.shape[-1]))
            start, before = best, height
            for turn in self._turns(moved, target_spectrum, side):
                candidate = geometry.compose(_about_centre(turn, target.shape[-2:]), start)
                candidate, value = self._shifted(source, target_spectrum, candidate, target.shape[-2:], side)
                higher = value > height
                best, height = torch.where(higher[:, None, None], candidate, best), torch.where(higher, value, height)
            if not (height > before).any():
                break
        return best, height

    def _shifted(
        self, source: Tensor, target_spectrum: Tensor, homography: Tensor, size: torch.Size, side: int
    ) -> tuple[Tensor, Tensor]:
        """The homography followed by the translation still missing, and the peak of that translation."""
        moved = geometry.warp(source, homography, (size[0], size[1]))
        shift, peak = _peak(target_spectrum, _spectrum(moved, side), self.config.bandwidth)
        return geometry.compose(geometry.translation(shift), homography), peak

    def _turns(self, moved: Tensor, target_spectrum: Tensor, side: int) -> list[Tensor]:
        """The remaining rotation and scale: two matrices ``(1, 2, 2)``, half a turn apart."""
        rings, angles = self.config.radii, self.config.angles
        # The map's radii span [lowest, 1/2] cycles/px; a spectrum has no content below a few cycles per image.
        lowest = 4.0 / side
        maps = [_log_polar(spectrum, angles, rings, lowest) for spectrum in (target_spectrum, _spectrum(moved, side))]
        window = torch.hann_window(rings, periodic=False, dtype=torch.float64, device=moved.device)
        target, source = (torch.fft.fft2((m - m.mean(dim=-1, keepdim=True)) * window) for m in maps)
        step = math.log(0.5 / lowest) / (rings - 1)
        reach = math.log(self.config.max_scale) / step
        shift, _ = _peak(target, source, self.config.bandwidth, reach)
        # If the target shows things s times as large, its spectrum lies at radii s times as small.
        scale, angle = torch.exp(-shift[:, 0] * step), shift[:, 1] * math.pi / angles
        cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)
        return [turn, -turn]


def _centred(image: Tensor) -> Tensor:
    return image - image.mean(dim=(-2, -1), keepdim=True)


def _spectrum(image: Tensor, side: int) -> Tensor:
    """Spectrum ``(B, side, side)`` of ``(B, 1, H, W)`` under a Hann window, zeros added at the right and below."""
    h, w = image.shape[-2:]
    y, x = (torch.hann_window(n + 2, periodic=False, dtype=image.dtype, device=image.device)[1:-1] for n in (h, w))
    return torch.fft.fft2(F.pad(_centred(image) * y[:, None] * x, (0, side - w, 0, side - h))).squeeze(1)


def _log_polar(spectrum: Tensor, angles: int, rings: int, lowest: float) -> Tensor:
    """Modulus of a spectrum ``(B, H, W)`` as ``(B, angles, rings)``.

    Angles cover half a turn; rings are spaced by log frequency from ``lowest`` to 1/2 cycles/px.
    """
    side = spectrum.shape[-1]
    frequency = torch.fft.fftshift(torch.fft.fftfreq(side, dtype=torch.float64, device=spectrum.device))
    falloff = torch.cos(math.pi * frequency)
    low = falloff[:, None] * falloff
    # Weight (1 - X)(2 - X) of Reddy and Chatterji, eq. 15: it raises high frequencies, which are weak in images (1/f).
    modulus = torch.fft.fftshift(spectrum, dim=(-2, -1)).abs() * (1 - low) * (2 - low)
    modulus = modulus / modulus.mean(dim=(-2, -1), keepdim=True).clamp_min(
        1e-300
    )  # so that brightness does not change the logarithm
    angle = torch.arange(angles, dtype=torch.float64, device=spectrum.device) * math.pi / angles
    log_radius = torch.linspace(math.log(lowest), math.log(0.5), rings, dtype=torch.float64, device=spectrum.device)
    radius = torch.exp(log_radius) * side
    centre = side // 2
    x, y = (radius * f(angle)[:, None] + centre for f in (torch.cos, torch.sin))
    grid = torch.stack([x, y], dim=-1) * (2.0 / (side - 1)) - 1
    grid = grid.expand(spectrum.shape[0], -1, -1, -1)
    sampled = F.grid_sample(torch.log1p(modulus).unsqueeze(1), grid, align_corners=True, padding_mode="border")
    return sampled.squeeze(1)


def _peak(target: Tensor, source: Tensor, bandwidth: float, reach: float = math.inf) -> tuple[Tensor, Tensor]:
    """The shift at which two images correlate best, target(p + shift) = source(p), from their spectra.

    Args:
        target: spectrum ``(B, H, W)``, zero frequency first.
        source: spectrum of the same shape.
        bandwidth: spread of the Gaussian weight of frequencies, cycles per sample.
        reach: largest shift along x, in samples.

    Returns:
        Shift ``(B, 2)``, x then y, and the peak's height ``(B,)`` in standard deviations of a random phase.
    """
    h, w = target.shape[-2:]
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64, device=target.device) for n in (h, w))
    weight = torch.exp(-(fy[:, None] ** 2 + fx**2) / (2 * bandwidth**2))
    cross = target * source.conj()
    modulus = cross.abs()
    floor = 1e-9 * modulus.amax(dim=(-2, -1), keepdim=True)
    cross = torch.where(modulus > floor, cross / modulus.clamp_min(1e-300), 0.0) * weight
    surface = torch.fft.ifft2(cross).real
    y, x = ((f * n).round() for f, n in ((fy, h), (fx, w)))
    surface = torch.where(x.abs() <= reach, surface, -math.inf)
    first = surface.flatten(1).argmax(dim=1)
    coarse = torch.stack([x[first % w], y[first // w]], dim=-1)
    # The inverse transform on a finer grid around the peak: two small matrix products.
    around = torch.linspace(-_REACH, _REACH, int(2 * _REACH * _UPSAMPLING) + 1, dtype=torch.float64, device=fx.device)
    at_x, at_y = coarse[:, :1] + around, coarse[:, 1:] + around  # (B, n)
    along_x = torch.exp(2j * math.pi * fx[:, None] * at_x[:, None, :])  # (B, W, n)
    along_y = torch.exp(2j * math.pi * at_y[:, :, None] * fy)  # (B, n, H)
    fine = (along_y @ cross @ along_x).real  # (B, n, n)
    best = fine.flatten(1).argmax(dim=1)
    n = around.shape[0]
    shift = torch.stack([at_x.gather(1, best[:, None] % n), at_y.gather(1, best[:, None] // n)], dim=-1).squeeze(1)
    height = fine.flatten(1).gather(1, best[:, None]).squeeze(1)
    return shift, height / weight.square().sum().sqrt()


def _about_centre(matrix: Tensor, size: torch.Size) -> Tensor:
    """A linear map ``(B, 2, 2)`` about the centre of an image, as a homography."""
    centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2], dtype=matrix.dtype, device=matrix.device)
    homography = torch.zeros(matrix.shape[0], 3, 3, dtype=matrix.dtype, device=matrix.device)
    homography[:, :2, :2] = matrix
    homography[:, :2, 2] = centre - matrix @ centre
    homography[:, 2, 2] = 1
    return homography
