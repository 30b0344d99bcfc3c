"""The convolutional U-Net that SSHNet offers as modality transfer network (Yu et al., CVPR 2025, as in its code).

The network has 1,942,611 parameters. Each level is two 3x3 convolutions with batch norm and ReLU; on the way up a
transposed convolution doubles the size and the skip is concatenated. It is trained inside a strategy such as
``sshnet``: unaligned images alone do not say what its output should look like. In train mode, every image it translates
enters the running statistics of batch norm.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import PairInfo
from regbench_translators.blocks.transfer import TransferConfig, TransferNet
from regbench_translators.presets import UNET_PRESETS


class UNetConfig(TransferConfig):
    """The defaults are the published network."""

    widths: tuple[int, ...] = Field((16, 32, 64, 128, 256), min_length=1, description="channels of each level")

    presets = UNET_PRESETS


class UNet(TransferNet):
    """RGB to RGB.

    Raises:
        ValueError: the patch is not a multiple of 2^(levels - 1).
    """

    Config = UNetConfig

    def __init__(self, config: UNetConfig, info: PairInfo) -> None:
        super().__init__(config, info, ConvolutionalUNet(config.widths), halvings=len(config.widths) - 1)


class ConvolutionalUNet(nn.Module):
    """The network.

    Args:
        widths: channels of each level, from full resolution down.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(two_convolutions(a, b) for a, b in pairwise((3, *widths)))
        steps = list(pairwise(reversed(widths)))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.up = nn.ModuleList(two_convolutions(2 * b, b) for _, b in steps)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(widths[0], 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to the same; H and W must be multiples of 2^(levels - 1)."""
        skips: list[Tensor] = []
        for i, level in enumerate(self.down):
            x = level(self.pool(x) if i else x)
            skips.append(x)
        x = skips.pop()
        for enlarge, level in zip(self.enlarge, self.up, strict=True):
            x = level(torch.cat([skips.pop(), enlarge(x)], dim=1))
        return self.head(x)


def two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Twice: 3x3 convolution without bias, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
