"""ResNet-34 as a regressor of the eight corner offsets (the backbone of CUDHN and of the later DHN)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from regbench.ops import RESNET34_DEPTHS, RESNET34_WIDTHS, load_imagenet, resnet34

Depths = Annotated[tuple[int, int, int, int], Field(description="residual blocks of the four stages")]
Widths = Annotated[tuple[int, int, int, int], Field(description="channels of the four stages")]
Pretrained = Annotated[bool | str, Field(description="ImageNet weights: a file, or true for where torch keeps them")]


def offsets_regressor(inputs: int, depths: Depths, widths: Widths, pretrained: Pretrained) -> nn.Module:
    """Stem, four stages of basic blocks, average pooling over the whole map, and a linear layer with 8 outputs.

    Args:
        inputs: channels of the input.
        depths: residual blocks of the stages.
        widths: channels of the stages.
        pretrained: start from ImageNet weights, from a file or from the caches of torchvision and timm; the first
            convolution and the last layer stay new.

    Returns:
        A module from ``(B, inputs, H, W)`` to ``(B, 8)``.

    Raises:
        ValueError: ImageNet weights for another size than ResNet-34.
        DataError: there are no such weights, or the file holds another network.
    """
    if pretrained and (depths, widths) != (RESNET34_DEPTHS, RESNET34_WIDTHS):
        raise ValueError("pretrained=true needs ResNet-34: leave depths and widths at their defaults")
    network = resnet34(inputs=inputs, outputs=8, depths=depths, widths=widths)
    if pretrained:
        load_imagenet(network, None if pretrained is True else pretrained, new=("conv1", "fc"))
    return network
