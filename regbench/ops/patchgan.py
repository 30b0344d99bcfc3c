"""The PatchGAN discriminator (Isola et al. 2017): one verdict for every patch of 70 px, no sigmoid at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regbench.ops.antialias import BlurDown

LEAK = 0.2
"""Slope of the leaky ReLU for negative values."""


def patch_widths(width: int, layers: int) -> list[int]:
    """Channels after each convolution of a PatchGAN but the last: doubled each time, 8 x the first at most."""
    return [width * min(2**i, 8) for i in range(layers + 1)]


class PatchGAN(nn.Module):
    """4x4 convolutions, the first ``layers`` of which halve; instance norm after all but the first and the last.

    As published it has 2,764,737 parameters with 3 channels, and 2,767,809 when it is conditional on a second image
    of 3 channels.

    Args:
        channels: of all images it sees together.
        width: channels of the first layer.
        layers: how many layers halve.
        antialias: blur before halving (CUT); False for strided convolutions (CycleGAN), whose field is 70 px.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 3, antialias: bool = True) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        before = channels
        for number, after in enumerate(patch_widths(width, layers)):
            halves = number < layers
            stack.append(nn.Conv2d(before, after, 4, stride=2 if halves and not antialias else 1, padding=1))
            if number:
                stack.append(nn.InstanceNorm2d(after))
            stack.append(nn.LeakyReLU(LEAK, inplace=True))
            if halves and antialias:
                stack.append(BlurDown())
            before = after
        self.layers = nn.Sequential(*stack, nn.Conv2d(before, 1, 4, padding=1))

    def forward(self, *images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)``, which are stacked, to verdicts ``(B, 1, h, w)``.

        Their map has 14 x 14 at 128 px and 30 x 30 at 256 px.
        """
        return self.layers(torch.cat(images, dim=1) if len(images) > 1 else images[0])


def check_patchgan(patch: int, layers: int, setting: str = "critic_layers") -> None:
    """The patch must leave the last layers of a PatchGAN more than one pixel to normalise.

    Args:
        patch: side of the images, px.
        layers: how many layers halve.
        setting: the name under which a user sets ``layers``.

    Raises:
        ValueError: the patch is too small.
    """
    if patch < 3 * 2**layers:
        raise ValueError(
            f"a discriminator with {layers} halvings needs a patch of at least {3 * 2**layers} px, got {patch}: "
            f"take fewer {setting} or a larger protocol.patch"
        )
