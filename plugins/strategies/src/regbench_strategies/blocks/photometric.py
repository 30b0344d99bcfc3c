"""Random photometric changes, which published loaders make on one side of a self-pair."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from regbench import whole_batch


def brightness_contrast(image: Tensor, brightness: float, contrast: float, generator: torch.Generator) -> Tensor:
    """Another exposure of each image: a gain from U(1 ± contrast), after an offset of U(± brightness) times its mean.

    This is albumentations' ``RandomBrightnessContrast`` with ``brightness_by_max=False``.

    Args:
        image: ``(B, C, H, W)`` in [0, 1].
        brightness: largest offset, in units of the image's mean over channels and pixels.
        contrast: largest departure of the gain from one.
        generator: on the CPU.

    Returns:
        The same shape, clipped to [0, 1].
    """
    gain, offset = _uniform(image, 2, generator)
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    return ((image + brightness * (2 * offset - 1) * mean) * (1 + contrast * (2 * gain - 1))).clamp(0, 1)


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
    return high_boost(image, weight, 8.5 + 0.5 * centre)


def high_boost(image: Tensor, weight: Tensor, centre: Tensor) -> Tensor:
    """Blend images with their 3x3 high boost: ``centre`` times a pixel minus its eight neighbours.

    Args:
        image: ``(B, C, H, W)`` in [0, 1]; reflected at the border.
        weight: ``(B, 1, 1, 1)``, share of the high boost.
        centre: ``(B, 1, 1, 1)``.

    Returns:
        The same shape, clipped to [0, 1].
    """
    around = 9 * avg_pool2d(pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1) - image
    return ((1 - weight) * image + weight * (centre * image - around)).clamp(0, 1)


def _uniform(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(count, B, 1, 1, 1)`` numbers from U(0, 1), on the image's device."""
    return whole_batch.draw(lambda n: torch.rand(count, n, 1, 1, 1, generator=generator), len(image), dim=1, like=image)
