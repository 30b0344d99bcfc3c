"""ResNet-34 as a regressor of the eight corner offsets (the backbone of CUDHN and of the later DHN)."""

from __future__ import annotations

from typing import Annotated

import timm
from pydantic import Field
from torch import nn

Depths = Annotated[tuple[int, int, int, int], Field(description="residual blocks of the four stages")]
Widths = Annotated[tuple[int, int, int, int], Field(description="channels of the four stages")]

DEPTHS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)


def offsets_regressor(inputs: int, depths: Depths, widths: Widths, pretrained: bool) -> nn.Module:
    """Stem, four stages of basic blocks, average pooling over whatever is left, and a linear layer with 8 outputs.

    Args:
        inputs: channels of the input.
        depths: residual blocks of the stages.
        widths: channels of the stages.
        pretrained: start from ImageNet weights, which timm downloads; the first convolution is adapted, the last
            layer new.

    Raises:
        ValueError: ImageNet weights for another size than ResNet-34.
    """
    if pretrained and (depths, widths) != (DEPTHS, WIDTHS):
        raise ValueError("pretrained=true needs ResNet-34: leave depths and widths at their defaults")
    # The residual branches start as in torchvision's ResNet; timm would start them at zero.
    return timm.create_model(
        "resnet34",
        pretrained=pretrained,
        in_chans=inputs,
        num_classes=8,
        layers=depths,
        channels=widths,
        zero_init_last=False,
    )
