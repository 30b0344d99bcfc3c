"""Photometric jitter of SSHNet's self-pairs: brightness, then sharpening, of each image by itself.

The published code uses albumentations, with a brightness within 0.4 of the image's mean, no contrast, and ``Sharpen``
at its defaults, both with probability one, on whole images before patches are cut. Here the patch is changed: its own
mean is the unit of brightness, and the sharpening reflects it at its border.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import whole_batch
from regbench_strategies.blocks.photometric import high_boost

BRIGHTNESS = 0.4
ALPHA, LIGHTNESS = (0.2, 0.5), (0.5, 1.0)


def jittered(image: Tensor, generator: torch.Generator) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1] to the same shape, each changed by numbers of its own from a CPU generator.

    Brightness adds U(-0.4, 0.4) times the image's mean; sharpening mixes the image, by alpha ~ U(0.2, 0.5), with
    8 + l times a pixel minus its eight neighbours, l ~ U(0.5, 1).
    """
    draws = whole_batch.draw(lambda n: torch.rand(3, n, 1, 1, 1, generator=generator), len(image), dim=1, like=image)
    brightness = BRIGHTNESS * (2 * draws[0] - 1)
    alpha = ALPHA[0] + (ALPHA[1] - ALPHA[0]) * draws[1]
    lightness = LIGHTNESS[0] + (LIGHTNESS[1] - LIGHTNESS[0]) * draws[2]
    image = (image + brightness * image.mean(dim=(1, 2, 3), keepdim=True)).clamp(0, 1)
    return high_boost(image, alpha, 8 + lightness)
