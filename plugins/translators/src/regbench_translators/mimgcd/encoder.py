"""The learnable MIM encoders: a small U-Net from a grey image to a map that resembles a maximum index map (MIM).

Source and target encoder have the same shape, because Algorithm 1 loads the weights of one into the other. Group norm
instead of batch norm keeps the map of an image independent of its batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MIMEncoder(nn.Module):
    """Three levels of 3x3 convolution, group norm and SiLU; tanh at the end (the paper leaves the layers open).

    Args:
        outputs: channels of the map (2 for the vector MIM, else 1).
        widths: channels of the three levels.
    """

    def __init__(self, outputs: int = 1, widths: tuple[int, int, int] = (32, 64, 128)) -> None:
        super().__init__()
        a, b, c = widths
        self.enter, self.down1, self.down2 = _block(1, a), _block(a, b), _block(b, c)
        self.up1, self.up2 = _block(c + b, b), _block(b + a, a)
        self.head = nn.Conv2d(a, outputs, 1)

    def forward(self, grey: Tensor) -> Tensor:
        """``(B, 1, H, W)`` in [-1, 1] to ``(B, outputs, H, W)`` in (-1, 1); H and W multiples of 4."""
        x1 = self.enter(grey)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.up1(torch.cat([F.interpolate(x3, scale_factor=2.0, mode="bilinear"), x2], dim=1))
        x = self.up2(torch.cat([F.interpolate(x, scale_factor=2.0, mode="bilinear"), x1], dim=1))
        return torch.tanh(self.head(x))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    def layer(i: int) -> list[nn.Module]:
        return [nn.Conv2d(i, outputs, 3, padding=1), nn.GroupNorm(min(8, outputs), outputs), nn.SiLU()]

    return nn.Sequential(*layer(inputs), *layer(outputs))
