"""Colour distortions: the looks of one photograph, drawn anew whenever an image is read.

A data set names its distortion (:attr:`regbench.Dataset.distortion`), the pack carries the name, and whoever cuts
patches looks it up in :data:`DISTORTIONS`. A new one is a class of :class:`Distortion` and an entry there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from regbench.devices import to_device
from regbench.errors import DataError, unknown_name

DELTA = 32.0
ORDERS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


class Distortion(ABC):
    """One distortion for each of N images, held on the CPU."""

    @abstractmethod
    def __getitem__(self, which: Tensor | slice) -> Self:
        """The distortions of some of the images."""

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """Distort ``(N, 3, H, W)`` in [0, 1], on any device; the result is in [0, 1] as well."""


@dataclass(frozen=True)
class Colours(Distortion):
    """The distortion of PDS-COCO (Koguciuk, Arani and Zonooz, biHomE, CVPRW 2021).

    Either image of a pair has its own draw, on the scale 0..255 with a range of 32: brightness + U(-32, 32); contrast
    x U(.5, 1.5), by a coin before or after the step in HSV: saturation x U(.5, 1.5), hue + U(-16, 16) degrees; then
    one of the six orders of the channels. Each is applied with probability one half. The published code does not clip;
    images are in [0, 1] at every interface here, so the result is.

    Attributes:
        brightness: ``(N,)`` added, in [0, 1]; 0 leaves it.
        contrast: ``(N,)`` factor; 1 leaves it.
        contrast_first: ``(N,)`` bool, contrast before the step in HSV, else after.
        saturation: ``(N,)`` factor.
        hue: ``(N,)`` added, degrees.
        order: ``(N, 3)`` where the channels come from.
    """

    brightness: Tensor
    contrast: Tensor
    contrast_first: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor

    def __getitem__(self, which: Tensor | slice) -> Colours:
        return Colours(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def apply(self, images: Tensor) -> Tensor:
        """Distort ``(N, 3, H, W)`` in [0, 1]; the result is clipped to [0, 1]."""
        brightness, contrast, first, saturation, hue = (
            to_device(getattr(self, name), images.device).view(-1, 1, 1, 1)
            for name in ("brightness", "contrast", "contrast_first", "saturation", "hue")
        )
        one = torch.ones_like(contrast)
        changed = (images + brightness) * torch.where(first, contrast, one)
        h, s, v = to_hsv(changed)
        changed = from_hsv(h + hue, s * saturation, v) * torch.where(first, one, contrast)
        order = to_device(self.order, images.device)[:, :, None, None].expand(changed.shape)
        return changed.gather(1, order).clamp(0, 1)


def draw_colours(count: int, generator: torch.Generator) -> Colours:
    """Distortions of ``count`` images as PDS-COCO draws them; ``generator`` is on the CPU."""

    def uniform(low: float, high: float, otherwise: float) -> Tensor:
        drawn = low + (high - low) * torch.rand(count, generator=generator)
        return torch.where(coin(), drawn, torch.full((count,), otherwise))

    def coin() -> Tensor:
        return torch.rand(count, generator=generator) < 0.5

    brightness = uniform(-DELTA / 255, DELTA / 255, 0.0)
    contrast, first = uniform(0.5, 1.5, 1.0), coin()
    saturation, hue = uniform(0.5, 1.5, 1.0), uniform(-DELTA / 2, DELTA / 2, 0.0)
    order = torch.where(coin(), torch.randint(0, len(ORDERS), (count,), generator=generator), torch.zeros(()).long())
    return Colours(brightness, contrast, first, saturation, hue, ORDERS[order])


DISTORTIONS: dict[str, Callable[[int, torch.Generator], Distortion]] = {"pds": draw_colours}
"""How distortions are drawn for a number of images, by the names that data sets give. ``none`` is not among them."""


def draw_distortion(name: str, count: int, generator: torch.Generator) -> Distortion:
    """Draw the distortion of that name for ``count`` images; raises DataError where there is none of that name."""
    check_distortion(name)
    return DISTORTIONS[name](count, generator)


def check_distortion(name: str) -> None:
    """Raise DataError unless ``name`` is ``none`` or a distortion that can be drawn."""
    if name != "none" and name not in DISTORTIONS:
        raise DataError(str(unknown_name("colour distortion", name, ["none", *DISTORTIONS])))


def to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in degrees, saturation, value, each ``(B, 1, H, W)``; defined beyond [0, 1] as OpenCV defines it."""
    r, g, b = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    v = rgb.amax(1, keepdim=True)
    difference = v - rgb.amin(1, keepdim=True)
    tiny = torch.finfo(rgb.dtype).eps
    s = difference / (v.abs() + tiny)
    scale = 60.0 / (difference + tiny)
    h = torch.where(v == r, (g - b) * scale, torch.where(v == g, (b - r) * scale + 120, (r - g) * scale + 240))
    return torch.where(h < 0, h + 360, h), s, v


def from_hsv(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """``(B, 3, H, W)`` RGB of hue in degrees (any), saturation and value."""
    channels = []
    for n in (5, 3, 1):
        k = (n + h / 60) % 6
        channels.append(v - v * s * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.cat(channels, dim=1)
