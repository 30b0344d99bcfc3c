"""Random contrasts: an image as some other sensor might have seen it, its geometry kept.

In order: channels are mixed, grey values go through a random curve, the image is blurred, a smooth gain field and
speckle multiply it, noise is added. All numbers are drawn for each image by itself, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from regbench import ComponentConfig, whole_batch

LEVELS = 256
"""Grey values that a curve tells apart, from the least to the greatest of an image."""


class Contrast(ComponentConfig):
    """How random contrasts are drawn. Each step is made with its ``*_share``, independently of the others."""

    channels: Literal["grey", "colour"] = Field(
        "grey",
        description="grey: the channels of an image are mixed into one, by random shares; colour: an image keeps three "
        "channels, each with a mixture and a curve of its own, except for a share of grey ones",
    )
    grey_share: float = Field(0.5, ge=0, le=1, description="channels=colour: images that become grey")
    curve_share: float = Field(1.0, ge=0, le=1, description="images whose grey values go through a random curve")
    curve_strength: float = Field(
        1.0, ge=0, le=1, description="largest weight of the curve; the rest is a straight line, rising or falling"
    )
    knots: int = Field(6, ge=2, description="random values that a curve passes through, evenly spaced; 2: monotone")
    blur_share: float = Field(0.5, ge=0, le=1)
    blur_strength: float = Field(1.0, ge=0, le=8, description="largest standard deviation of the blur, pixels")
    gain_share: float = Field(0.5, ge=0, le=1)
    gain_strength: float = Field(0.3, ge=0, description="standard deviation of the logarithm of the gain field")
    gain_cells: int = Field(4, ge=2, description="random values of the gain field along either side")
    speckle_share: float = Field(0.5, ge=0, le=1)
    speckle_strength: float = Field(0.3, ge=0, description="largest standard deviation of multiplicative noise")
    noise_share: float = Field(0.5, ge=0, le=1)
    noise_strength: float = Field(0.05, ge=0, description="largest standard deviation of additive noise")

    def drawn(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Each image under a contrast of its own.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1].
            generator: on the CPU.

        Returns:
            The same shape, in [0, 1].
        """
        draws = _Draws(image, generator)
        image = self._curved(image, draws)
        if self.blur_share and self.blur_strength:
            deviation = self.blur_strength * draws.uniform() * draws.chosen(self.blur_share)
            image = blurred(image, deviation, math.ceil(3 * self.blur_strength))
        if self.gain_share and self.gain_strength:
            knots = draws.normal(1, self.gain_cells, self.gain_cells) * draws.chosen(self.gain_share)
            field = interpolate(knots, image.shape[-2:], mode="bicubic", align_corners=True)
            image = image * (self.gain_strength * field).exp()
        if self.speckle_share and self.speckle_strength:
            deviation = self.speckle_strength * draws.uniform() * draws.chosen(self.speckle_share)
            image = image * (1 + deviation * draws.normal(*image.shape[1:]))
        if self.noise_share and self.noise_strength:
            deviation = self.noise_strength * draws.uniform() * draws.chosen(self.noise_share)
            image = image + deviation * draws.normal(*image.shape[1:])
        if self.channels == "colour" and self.grey_share:
            image = torch.where(draws.chosen(self.grey_share) > 0, image[:, :1], image)
        return image.clamp(0, 1).expand(-1, 3, -1, -1)

    def _curved(self, image: Tensor, draws: _Draws) -> Tensor:
        """Channels mixed and sent through curves: ``(B, 1, H, W)`` of grey images, else ``(B, 3, H, W)``."""
        out = 1 if self.channels == "grey" else 3
        shares = -draws.uniform(out, 3, 1, 1).clamp(1e-6, 1 - 1e-6).log()  # normalised: uniform over all mixtures
        mixed = (shares / shares.sum(2, keepdim=True) * image[:, None]).sum(2)
        line = torch.linspace(0, 1, LEVELS, device=image.device, dtype=image.dtype)
        line = torch.where(draws.uniform(out, 1) < 0.5, line, 1 - line)
        weight = self.curve_strength * draws.uniform(out, 1) * draws.chosen(self.curve_share).flatten(2)
        return looked_up(mixed, line + weight * (curves(draws.uniform(out, self.knots)) - line))


def curves(values: Tensor) -> Tensor:
    """Smooth curves through random values, stretched to reach both 0 and 1: ``(B, C, K)`` to ``(B, C, LEVELS)``.

    Two values give a straight line. More are joined by cubics (Keys's, as of bicubic interpolation).
    """
    smooth = interpolate(values, LEVELS, mode="linear", align_corners=True) if values.shape[-1] == 2 else _cubic(values)
    low, high = smooth.amin(-1, keepdim=True), smooth.amax(-1, keepdim=True)
    return (smooth - low) / (high - low).clamp_min(1e-6)


def _cubic(values: Tensor) -> Tensor:
    return interpolate(values[:, :, None], (1, LEVELS), mode="bicubic", align_corners=True)[:, :, 0]


def looked_up(image: Tensor, table: Tensor) -> Tensor:
    """Grey values replaced by those of a table, which spans the range of each channel.

    Args:
        image: ``(B, C, H, W)``.
        table: ``(B, C, LEVELS)``.
    """
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    level = ((image - low) * ((LEVELS - 1) / (high - low).clamp_min(1e-6))).round().long()
    return table.gather(2, level.flatten(2)).view_as(image)


def blurred(image: Tensor, deviation: Tensor, radius: int) -> Tensor:
    """Gaussian blur, of each image by its own standard deviation; borders are reflected.

    Args:
        image: ``(B, C, H, W)``.
        deviation: ``(B, 1, 1, 1)``, pixels; 0 leaves the image.
        radius: of the window, pixels.
    """
    radius = min(radius, image.shape[-2] - 1, image.shape[-1] - 1)
    at = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = (-0.5 * (at / deviation.clamp_min(1e-3)).square()).exp()
    kernel = (kernel / kernel.sum(-1, keepdim=True)).expand(-1, image.shape[1], -1, -1).flatten(0, 1)[:, None]
    one = pad(image, (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    with torch.autocast(image.device.type, enabled=False):
        one = conv2d(conv2d(one, kernel, groups=len(kernel)), kernel.mT, groups=len(kernel))
    return one[0].view_as(image)


class _Draws:
    """Random numbers of the images of a batch, on their device."""

    def __init__(self, image: Tensor, generator: torch.Generator) -> None:
        self._image, self._generator = image, generator

    def uniform(self, *shape: int) -> Tensor:
        """U(0, 1) of ``(B, *shape)``; without a shape, ``(B, 1, 1, 1)``."""
        return self._drawn(torch.rand, shape or (1, 1, 1))

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1) of ``(B, *shape)``."""
        return self._drawn(torch.randn, shape)

    def chosen(self, share: float) -> Tensor:
        """1 for a share of the images, 0 for the others: ``(B, 1, 1, 1)``."""
        return (self.uniform() < share).to(self._image.dtype)

    def _drawn(self, sample: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        def draw(count: int) -> Tensor:
            return sample(count, *shape, generator=self._generator)

        return whole_batch.draw(draw, len(self._image), like=self._image)
