"""How the published code draws the weights a network starts with."""

from __future__ import annotations

import torch
from torch import nn


def initialise(network: nn.Module, how: str) -> None:
    """Draw weights of all convolutions and linear layers anew; biases are zero.

    Args:
        network: changed in place.
        how: ``normal`` N(0, 0.02) (CycleGAN), ``xavier`` normal with gain 0.02 (CUT), ``kaiming`` normal (MUNIT).
    """
    fill = {
        "normal": lambda w: nn.init.normal_(w, 0.0, 0.02),
        "xavier": lambda w: nn.init.xavier_normal_(w, gain=0.02),
        "kaiming": lambda w: nn.init.kaiming_normal_(w, a=0, mode="fan_in"),
    }[how]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                fill(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
