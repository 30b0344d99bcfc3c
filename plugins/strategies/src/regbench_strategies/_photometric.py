"""Random photometric changes of images, as published loaders make them on one side of a self-pair."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def brightness_contrast(image: Tensor, brightness: float, contrast: float, generator: torch.Generator) -> Tensor:
    """Another exposure of each image: gain from U(1 ± contrast), offset from U(± brightness).

    Args:
        image: ``(B, C, H, W)`` in [0, 1].
        brightness: largest offset, in units of the full range.
        contrast: largest departure of the gain from one.
        generator: on the CPU.

    Returns:
        The same shape, clipped to [0, 1].
    """
    gain, offset = _uniform(image, 2, generator)
    return (image * (1 + contrast * (2 * gain - 1)) + brightness * (2 * offset - 1)).clamp(0, 1)


def sharpen(image: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Blend some images with their 3x3 high boost: weight from U(0.2, 0.5), centre 8 + U(0.5, 1).

    Args:
        image: ``(B, C, H, W)`` in [0, 1].
        probability: share of the images that are sharpened.
        generator: on the CPU.

    Returns:
        The same shape, clipped to [0, 1].
    """
    chosen, weight, centre = _uniform(image, 3, generator)
    weight = (0.2 + 0.3 * weight) * (chosen < probability)
    channels = image.shape[1]
    box = torch.ones(channels, 1, 3, 3, dtype=image.dtype, device=image.device)
    neighbours = conv2d(mirrored(image), box, groups=channels) - image
    return high_boost(image, weight, 8.5 + 0.5 * centre, neighbours)


def mirrored(image: Tensor) -> Tensor:
    """``(B, C, H, W)`` with one reflected pixel more on every side."""
    return pad(image, (1, 1, 1, 1), mode="reflect")


def high_boost(image: Tensor, weight: Tensor, centre: Tensor, around: Tensor) -> Tensor:
    """Blend images with their 3x3 high boost: ``centre`` times a pixel minus what lies around it.

    Args:
        image: ``(B, C, H, W)`` in [0, 1].
        weight: ``(B, 1, 1, 1)``, share of the high boost.
        centre: ``(B, 1, 1, 1)``; one more where ``around`` counts the pixel itself.
        around: as ``image``, the sum over 3x3, with the pixel itself or without it. The caller adds it up, because
            either order of summing rounds in its own way.

    Returns:
        The same shape, clipped to [0, 1].
    """
    return ((1 - weight) * image + weight * (centre * image - around)).clamp(0, 1)


def _uniform(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(count, B, 1, 1, 1)`` numbers from U(0, 1), on the image's device."""
    return torch.rand(count, len(image), 1, 1, 1, generator=generator).to(image.device, image.dtype)
