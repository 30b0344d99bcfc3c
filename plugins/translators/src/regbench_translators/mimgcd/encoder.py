"""The learnable MIM encoders: a small U-Net from an image to a map that resembles its maximum index map (MIM).

Source and target encoder have the same shape, because Algorithm 1 loads the weights of one into the other. Group norm
instead of batch norm keeps the map of an image independent of its batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench_translators.mimgcd.norm import group_norm


class MIMEncoder(nn.Module):
    """Three levels of 3x3 convolution, group norm and SiLU; tanh at the end (the paper leaves the layers open).

    Args:
        outputs: channels of the map: one for each channel of the image, twice as many for the vector MIM.
        widths: channels of the three levels.
        inputs: channels of the image.
        group: least channels of a group of group norm; at the default widths there are eight groups.
    """

    def __init__(
        self, outputs: int = 1, widths: tuple[int, int, int] = (32, 64, 128), inputs: int = 1, group: int = 4
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.enter, self.down1, self.down2 = _block(inputs, a, group), _block(a, b, group), _block(b, c, group)
        self.up1, self.up2 = _block(c + b, b, group), _block(b + a, a, group)
        self.head = nn.Conv2d(a, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` in [-1, 1] to ``(B, outputs, H, W)`` in (-1, 1); H and W multiples of 4."""
        x1 = self.enter(image)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.up1(torch.cat([F.interpolate(x3, scale_factor=2.0, mode="bilinear"), x2], dim=1))
        x = self.up2(torch.cat([F.interpolate(x, scale_factor=2.0, mode="bilinear"), x1], dim=1))
        return torch.tanh(self.head(x))


def _block(inputs: int, outputs: int, group: int) -> nn.Sequential:
    def layer(i: int) -> list[nn.Module]:
        return [nn.Conv2d(i, outputs, 3, padding=1), group_norm(outputs, 8, group), nn.SiLU()]

    return nn.Sequential(*layer(inputs), *layer(outputs))
