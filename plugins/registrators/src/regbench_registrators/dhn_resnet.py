"""The DHN of later papers: a ResNet-34 over the stacked pair regresses the eight corner offsets at once.

biHomE and, after it, AltO replace DeTone's network (:mod:`regbench_registrators.dhn`) by a ResNet-34. It reads six
channels, two colour images in [-1, 1], and ends in a linear layer of 512 to 8 offsets in pixels (21,298,184
parameters). A paper that writes "DHN" may mean either network.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from regbench import ComponentConfig, PairInfo, Registration, Registrator
from regbench.ops import RESNET34_DEPTHS, RESNET34_WIDTHS
from regbench_registrators.blocks.resnet import Depths, Pretrained, Widths, offsets_regressor
from regbench_registrators.presets import DHN_RESNET_PRESETS


class DHNResNetConfig(ComponentConfig):
    """Defaults are AltO's network."""

    colour: Literal["rgb", "grey"] = Field("rgb", description="six channels, or the two grey images of DeTone's DHN")
    depths: Depths = RESNET34_DEPTHS
    widths: Widths = RESNET34_WIDTHS
    pretrained: Pretrained = False

    presets = DHN_RESNET_PRESETS


class DHNResNet(Registrator):
    """ResNet-34 with eight outputs, for patches of any size.

    Raises:
        ValueError: ``pretrained`` at another size than ResNet-34.
        DataError: there are no ImageNet weights.
    """

    Config = DHNResNetConfig
    config: DHNResNetConfig

    def __init__(self, config: DHNResNetConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        channels = 6 if config.colour == "rgb" else 2
        self.network = offsets_regressor(channels, config.depths, config.widths, config.pretrained)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels."""
        pair = [source, target]
        if self.config.colour == "grey":
            pair = [image.mean(dim=1, keepdim=True) for image in pair]
        offsets = self.network(2 * torch.cat(pair, dim=1) - 1).float()
        return Registration(offsets.reshape(1, -1, 4, 2), (source.shape[-2], source.shape[-1]))
