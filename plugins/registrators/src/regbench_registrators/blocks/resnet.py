"""ResNet-34 as a regressor of the eight corner offsets (the backbone of CUDHN and of the later DHN)."""

from __future__ import annotations

from typing import Annotated

import timm
from pydantic import Field
from torch import nn

from regbench.ops import load_imagenet

Depths = Annotated[tuple[int, int, int, int], Field(description="residual blocks of the four stages")]
Widths = Annotated[tuple[int, int, int, int], Field(description="channels of the four stages")]
Pretrained = Annotated[bool | str, Field(description="ImageNet weights: a file, or true for where torch keeps them")]

DEPTHS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)


def offsets_regressor(inputs: int, depths: Depths, widths: Widths, pretrained: Pretrained) -> nn.Module:
    """Stem, four stages of basic blocks, average pooling over whatever is left, and a linear layer with 8 outputs.

    Args:
        inputs: channels of the input.
        depths: residual blocks of the stages.
        widths: channels of the stages.
        pretrained: start from ImageNet weights, from a file or from the caches of torchvision and timm; the first
            convolution and the last layer stay new.

    Raises:
        ValueError: ImageNet weights for another size than ResNet-34.
        DataError: there are no such weights, or the file is of something else.
    """
    if pretrained and (depths, widths) != (DEPTHS, WIDTHS):
        raise ValueError("pretrained=true needs ResNet-34: leave depths and widths at their defaults")
    # The residual branches start as in torchvision's ResNet; timm would start them at zero.
    network = timm.create_model(
        "resnet34",
        pretrained=False,
        in_chans=inputs,
        num_classes=8,
        layers=depths,
        channels=widths,
        zero_init_last=False,
    )
    if pretrained:
        load_imagenet(network, None if pretrained is True else pretrained, new=("conv1", "fc"))
    return network
