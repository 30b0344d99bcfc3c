"""The 70 px PatchGAN (Isola et al. 2017), conditional on a second image, and its losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class PatchGAN(nn.Module):
    """4x4 convolutions, the first ``layers`` of which halve; one verdict for every patch, as a logit.

    With two images of three channels, 64 channels and three halvings it has 2,767,809 parameters.

    Args:
        channels: of all images it sees together.
        width: channels of the first layer; doubled each time, eight times the first at most.
        layers: how many layers halve.

    Raises:
        ValueError: the patch leaves the last layers nothing to normalise.
    """

    def __init__(self, channels: int, width: int, layers: int, patch: int) -> None:
        super().__init__()
        if patch < 3 * 2**layers:
            raise ValueError(f"a discriminator that halves {layers} times needs a patch of {3 * 2**layers} px or more")
        stack: list[nn.Module] = []
        for number in range(layers + 1):
            outputs = width * min(2**number, 8)
            stack.append(nn.Conv2d(channels, outputs, 4, stride=2 if number < layers else 1, padding=1))
            stack += [nn.InstanceNorm2d(outputs)] if number else []
            stack.append(nn.LeakyReLU(0.2))
            channels = outputs
        self.layers = nn.Sequential(*stack, nn.Conv2d(channels, 1, 4, padding=1))

    def forward(self, *images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)``, which are stacked, to logits ``(B, 1, h, w)``."""
        return self.layers(torch.cat(images, dim=1))


def real(logits: Tensor) -> Tensor:
    """Cross-entropy of taking all of them for real."""
    return softplus(-logits).mean()


def fake(logits: Tensor) -> Tensor:
    """Cross-entropy of taking all of them for fakes."""
    return softplus(logits).mean()
