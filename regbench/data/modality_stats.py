"""What two modalities share, and what the images of each are like by themselves: correlation, noise, spectrum.

Where two data sets agree in these numbers, a method meets the same kind of gap in both; the embedded data set is
fitted to real ones by them (``benchmarks/fit_embedded.py``). All are means over patches that lie wholly inside what
both images show: those that fill the central 128 px, four of 64 px or one of 128 px. ``reduce`` 2 means that a patch
was averaged over 2 x 2 px first, as the small budgets of translators do.

Sources: value-MIM, CoLReg eq. 13 (:func:`regbench.ops.log_gabor.maximum_index_map`). Noise, Immerkær: Fast noise
variance estimation, CVIU 64, 1996, with a median in place of the mean. Speckle and the equivalent number of looks,
Oliver and Quegan: Understanding Synthetic Aperture Radar Images, 2004, section 4.3. Power spectrum, Field: Relations
between the statistics of natural images and the response properties of cortical cells, JOSA A 4, 1987.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench.ops.edges import edge_agreement, edge_field
from regbench.ops.log_gabor import maximum_index_map

PAIRS = 64
"""Pairs looked at, spread evenly over the split."""
SCALES = ((64, 1), (64, 2), (128, 1))
"""(patch side in px, reduction) of each entry."""
BANDS = (4, 8, 16)
"""Wavelengths, px, that divide the four bands of the power spectrum."""
RINGS = tuple(32 ** -(1 - i / 8) * 3 ** -(i / 8) for i in range(9))
"""Frequencies, cycles per px, that divide the rings over which the slope is fitted: eight from 1/32 to 1/3."""
FLAT = 1e-3
"""Patches whose standard deviation is below this have no correlation and no spectrum."""
_ENTRY = ("patch", "reduce", "patches", "shared", "a", "b")
_BLOCK = 8
"""Side of the windows in which speckle and patchiness are measured, px."""


@dataclass(frozen=True)
class Shared:
    """What the patches of A and B share; 1: the same image, 0: nothing in common. None: no patch had any contrast."""

    grey: float | None
    """Absolute Pearson correlation of grey values."""
    grey_signed: float | None
    """The same with its sign: near zero beside a large ``grey`` where contrast is reversed in half of the patches."""
    mim: float | None
    """Pearson correlation of the value-MIMs."""
    edges: float | None
    """Agreement of edge orientations (:func:`regbench.ops.edges.edge_agreement`), unshifted."""


@dataclass(frozen=True)
class Side:
    """What the patches of one modality are like. Grey values in [0, 1]. None: no patch had any contrast."""

    mean: float
    contrast: float
    """Standard deviation."""
    noise: float
    """Standard deviation of white noise that would give the fine structure of half of the pixels."""
    speckle: float
    """Variance over squared mean where the image is flat: the reciprocal of the equivalent number of looks."""
    patchiness: float
    """Standard deviation of the logarithm of the variance in windows of 8 px: 0.2 for white noise, above 1 where woods
    lie beside water. Variances below one grey level's count as one."""
    slope: float | None
    """b of a power spectrum that falls as frequency to the power -b, fitted over wavelengths from 3 to 32 px: white
    noise has 0, photographs about 2."""
    bands: list[float] | None
    """Share of the variance at wavelengths from 2 to 4, to 8, to 16, and above 16 px."""


def measure_modalities(
    blocks: Iterable[tuple[Tensor, Tensor, Tensor]],
    together: bool = True,
    scales: Sequence[tuple[int, int]] = SCALES,
) -> list[dict[str, Any]]:
    """Measure pairs at several scales.

    Args:
        blocks: grey A, grey B laid on each other, and where both are seen, ``(n, 1, H, W)`` in [0, 1] each.
        together: False where A and B do not lie on each other; what they share is then not known.
        scales: (patch side in px, reduction) each.

    Returns:
        One entry a scale: ``patch``, ``reduce``, ``shared`` (:class:`Shared`, or None), ``a`` and ``b`` (:class:`Side`)
        as plain dictionaries. A scale of whose patches fewer than one in ten pairs shows one has no entry.
    """
    cut: dict[tuple[int, int], list[Tensor]] = {scale: [] for scale in scales}
    pairs = 0
    for a, b, mask in blocks:
        pairs += len(a)
        for side, reduce in scales:
            cut[side, reduce].append(F.avg_pool2d(patches(torch.cat([a, b], 1), mask, side), reduce))
    told = []
    for (side, reduce), parts in cut.items():
        both = torch.cat(parts)
        if 10 * len(both) > pairs:
            a, b = both[:, :1], both[:, 1:]
            shared = asdict(compare(a, b)) if together else None
            sides = [asdict(describe(images)) for images in (a, b)]
            told.append(dict(zip(_ENTRY, (side, reduce, len(both), shared, *sides), strict=True)))
    return told


def patches(images: Tensor, mask: Tensor, side: int) -> Tensor:
    """Patches ``(m, C, side, side)`` of ``(n, C, H, W)`` images that a mask ``(n, 1, H, W)`` shows whole.

    They fill the central 128 px; an image that shows none of those gives its central patch.
    """
    h, w = images.shape[-2:]
    top, left = (h - side) // 2, (w - side) // 2
    steps = (0,) if side > 64 else (-side // 2, side // 2)
    chosen, alone = [], torch.ones(len(images), dtype=torch.bool)
    for y, x in [(top + dy, left + dx) for dy in steps for dx in steps] + [(top, left)]:
        if min(y, x) < 0 or y + side > h or x + side > w:
            continue
        seen = mask[..., y : y + side, x : x + side].flatten(1).amin(1) > 0.999
        if (y, x) == (top, left):
            seen = seen & alone
        alone = alone & ~seen
        chosen.append(images[seen, :, y : y + side, x : x + side])
    return torch.cat(chosen) if chosen else images.new_zeros(0, images.shape[1], side, side)


def compare(a: Tensor, b: Tensor) -> Shared:
    """What grey patches ``(n, 1, s, s)`` and ``(n, 1, s, s)`` in [0, 1] share."""
    r = _correlation(a, b)
    mims = [torch.cat([maximum_index_map(part) for part in torch.split(images, 64)]) for images in (a, b)]
    mim = torch.where(r.isnan(), torch.nan, _correlation(*mims))
    edges = torch.where(r.isnan(), torch.nan, edge_agreement(edge_field(a), edge_field(b)))
    return Shared(*(_mean(values) for values in (r.abs(), r, mim, edges)))


def describe(images: Tensor) -> Side:
    """What grey patches ``(n, 1, s, s)`` in [0, 1] are like, one modality at a time."""
    deviation = images.std((1, 2, 3))
    busy = images[deviation > FLAT]
    return Side(
        round(float(images.mean()), 4),
        round(float(deviation.mean()), 4),
        round(float(_noise(images).mean()), 5),
        round(float(_speckle(images).mean()), 5),
        round(float(_patchiness(images).mean()), 4),
        *(_spectrum(busy) if len(busy) else (None, None)),
    )


def _mean(values: Tensor) -> float | None:
    values = values[~values.isnan()]
    return round(float(values.mean()), 4) if len(values) else None


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's r of each pair ``(n,)``; NaN where either is flat."""
    a, b = (images.flatten(1).double() for images in (a, b))
    a, b = (images - images.mean(1, keepdim=True) for images in (a, b))
    spreads = [images.square().mean(1).sqrt() for images in (a, b)]
    r = (a * b).mean(1) / (spreads[0] * spreads[1])
    return torch.where((spreads[0] > FLAT) & (spreads[1] > FLAT), r, torch.nan).float()


def _noise(images: Tensor) -> Tensor:
    """Immerkær's mask, which no plane and no straight edge along x or y answers; ``(n,)``."""
    row = torch.tensor([1.0, -2.0, 1.0], dtype=images.dtype)
    response = F.conv2d(images, (row[:, None] * row).view(1, 1, 3, 3))
    return response.abs().flatten(1).median(1).values / (0.6745 * 6)


def _speckle(images: Tensor) -> Tensor:
    """Variance over squared mean, ``(n,)``: the median over the quarter of the windows that is flattest when coarse.

    Windows are chosen by the means of their quarters and measured by the variance within those, so that the choice
    does not pick those whose speckle is weak by chance.
    """
    half = _BLOCK // 2
    mean = F.avg_pool2d(images, half)
    within = (F.avg_pool2d(images.square(), half) - mean.square()) * (half * half / (half * half - 1))
    level = F.avg_pool2d(mean, 2)
    spread = (F.avg_pool2d(mean.square(), 2) - level.square()).flatten(1)
    ratio = (F.avg_pool2d(within.clamp_min(0), 2) / level.square().clamp_min(1e-4)).flatten(1)
    flattest = spread.argsort(1)[:, : max(1, spread.shape[1] // 4)]
    return ratio.gather(1, flattest).median(1).values


def _patchiness(images: Tensor) -> Tensor:
    mean = F.avg_pool2d(images, _BLOCK)
    variance = F.avg_pool2d(images.square(), _BLOCK) - mean.square()
    return variance.clamp_min(255.0**-2).log().flatten(1).std(1)


def _spectrum(images: Tensor) -> tuple[float, list[float]]:
    """Slope and bands of the power spectrum under a Hann window, means over images."""
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=True, dtype=images.dtype)
    weight = window[:, None] * window
    centred = images[:, 0] - (images[:, 0] * weight).sum((1, 2), keepdim=True) / weight.sum()
    power = torch.fft.fft2(centred * weight).abs().square()
    step = torch.fft.fftfreq(side)
    frequency = torch.hypot(step[:, None], step)
    shares = (power / power.sum((1, 2), keepdim=True)).mean(0)
    limits = [1.0, *(1 / wave for wave in BANDS), 0.0]
    bands = [float(shares[(frequency <= high) & (frequency > low)].sum()) for high, low in pairwise(limits)]
    x, y = [], []
    for low, high in pairwise(RINGS):
        ring = (frequency >= low) & (frequency < high)
        if ring.any():
            x.append(frequency[ring].log().mean())
            y.append(power[:, ring].mean(1).log().mean())  # the mean of logarithms: the mean of the patches' slopes
    logs = torch.stack(x) - torch.stack(x).mean()
    slope = -float((torch.stack(y) * logs).sum() / logs.square().sum())
    return round(slope, 4), [round(share, 4) for share in bands]
