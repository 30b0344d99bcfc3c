"""Halving and doubling without aliasing (Zhang 2019), as CUT's networks do it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlurDown(nn.Module):
    """Blur by the binomial (1, 2, 1) in both directions, reflected at the border, and keep every other pixel.

    ``(B, C, H, W)`` to ``(B, C, ceil(H / 2), ceil(W / 2))``; pixel i of the result is centred on pixel 2i.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve ``x``."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, -1, -1, -1)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=channels)


def blur_up() -> nn.Module:
    """Double the size by the kernel (1, 3, 3, 1) with the border replicated, which is bilinear interpolation."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
