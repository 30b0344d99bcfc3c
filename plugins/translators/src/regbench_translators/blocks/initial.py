"""The initial weights of the published code."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn


def initialise(network: nn.Module, how: str) -> None:
    """Draw the weights of all convolutions and linear layers anew and set their biases to zero.

    Args:
        network: changed in place.
        how: ``normal`` N(0, 0.02) (CycleGAN), ``xavier`` normal with gain 0.02 (CUT), ``kaiming`` normal (MUNIT).
    """
    fill = {
        "normal": partial(nn.init.normal_, mean=0.0, std=0.02),
        "xavier": partial(nn.init.xavier_normal_, gain=0.02),
        "kaiming": partial(nn.init.kaiming_normal_, a=0, mode="fan_in"),
    }[how]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                fill(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
