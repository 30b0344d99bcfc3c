"""The first stages of a ResNet-34, whose features AltO and biHomE compare."""

from __future__ import annotations

import timm
from torch import nn

DEPTHS = (3, 4, 6)
WIDTHS = (64, 128, 256)


def resnet(depths: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """Stem and as many stages of basic blocks as sizes are given, with new weights.

    Its parts are named as in torchvision and timm: ``conv1``, ``bn1``, ``act1``, ``maxpool``, ``layer1`` and so on.

    Args:
        depths: residual blocks of the stages; ResNet-34 has 3, 4, 6 (and 3).
        widths: their channels; ResNet-34 has 64, 128, 256 (and 512).
    """
    # The residual branches start as in torchvision's ResNet; timm would start them at zero.
    return timm.create_model(
        "resnet34", pretrained=False, num_classes=0, layers=depths, channels=widths, zero_init_last=False
    )
