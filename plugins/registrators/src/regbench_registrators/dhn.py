"""DHN: deep image homography estimation (DeTone, Malisiewicz, Rabinovich 2016).

A VGG-like network over the stacked grey pair regresses the eight corner offsets at once. regbench calls this network
``dhn``; later papers often mean a ResNet-34 by the same letters.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import ComponentConfig, PairInfo, Registration, Registrator
from regbench_registrators.presets import DHN_PRESETS


class DHNConfig(ComponentConfig):
    """Defaults are the published network (34,193,800 parameters at 128 px, with batch norm)."""

    widths: tuple[int, int, int, int] = Field((64, 64, 128, 128), description="channels of the four pairs of layers")
    hidden: int = Field(1024, ge=1, description="units of the first fully connected layer")
    dropout: float = Field(0.5, ge=0, lt=1, description="after the last convolution and the first layer")

    presets = DHN_PRESETS


class DHN(Registrator):
    """Eight 3x3 convolutions with batch norm, three poolings, two fully connected layers.

    Raises:
        ValueError: ``info.patch`` is not a multiple of 8.
    """

    Config = DHNConfig

    def __init__(self, config: DHNConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        if info.patch % 8:
            raise ValueError(f"DHN pools three times: the patch must be a multiple of 8, got {info.patch}")
        layers: list[nn.Module] = []
        channels = 2
        for i, width in enumerate(config.widths):
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            if i < 3:
                layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        self.regressor = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(channels * (info.patch // 8) ** 2, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 8),
        )

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels; the network works in units of rho."""
        grey = torch.cat([source.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)], dim=1)
        offsets = self.regressor(self.convolutions(2 * grey - 1)).float().reshape(1, -1, 4, 2)
        return Registration(offsets * self.info.rho, (source.shape[-2], source.shape[-1]))

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Half the squared Euclidean distance of the eight offsets in units of rho, mean over the batch."""
        error = (registration.displacement - displacement) / self.info.rho
        squared = error.square().sum(dim=(-1, -2)) / 2
        return (squared if weight is None else squared * weight).mean()
