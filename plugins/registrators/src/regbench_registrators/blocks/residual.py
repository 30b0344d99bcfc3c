"""The residual block of the IHN family (IHN, RHWF, MCNet)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops import fast


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, and a 1x1 shortcut that is always there.

    Unlike ResNet's block the main path ends in a ReLU before the addition, and the shortcut is convolved and
    normalised even when shapes agree. Instance norm has neither affine parameters nor running statistics, so
    training and evaluation are the same function, whatever the batch.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        if fast.usable(x):
            return fast.residual_block(x, self.conv1, self.conv2, self.shortcut)
        main = F.relu(F.instance_norm(self.conv1(x)))
        main = F.relu(F.instance_norm(self.conv2(main)))
        return F.relu(main + F.instance_norm(self.shortcut(x)))


def kaiming_fan_out(module: nn.Module) -> None:
    """Initialise every convolution of an encoder as the family does; biases keep torch's default."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
