"""The convolutional encoder of the IHN family (IHN, RHWF, MCNet): a stem, levels of residual blocks, 1x1 heads."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops import fast
from regbench_registrators.blocks.residual import ResidualBlock, kaiming_fan_out


class ResidualEncoder(nn.Module):
    """Features of one image at several strides; shared by both images.

    The networks differ in the stem, in the widths, and in how a level halves its input: by the stride of its first
    convolution (RHWF, MCNet) or by max pooling before it (IHN).

    Args:
        stem: channels of the stem.
        kernel: side of the stem's convolution, odd.
        stem_stride: stride of the stem.
        levels: {stride: channels} of the levels, fine to coarse; each stride equals the one before or doubles it.
        heads: strides at which features leave the network. A head that :meth:`forward` is not to compute gets no
            gradient.
        dim: channels of the features.
        pool: halve by max pooling.
    """

    def __init__(
        self,
        *,
        stem: int,
        kernel: int,
        stem_stride: int,
        levels: Mapping[int, int],
        heads: Collection[int],
        dim: int,
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, stem, kernel, stem_stride, kernel // 2)
        self.strides = tuple(levels)
        before = (stem_stride, *self.strides)
        # By how much each level divides the side of its input.
        self._factors = tuple(after // earlier for earlier, after in zip(before, self.strides, strict=False))
        self._pool = pool
        widths = (stem, *levels.values())
        self.levels = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(inputs, outputs, 1 if pool else factor),
                ResidualBlock(outputs, outputs),
            )
            for inputs, outputs, factor in zip(widths, widths[1:], self._factors, strict=False)
        )
        self.heads = nn.ModuleDict({str(s): nn.Conv2d(width, dim, 1) for s, width in levels.items() if s in heads})
        kaiming_fan_out(self)

    def forward(self, image: Tensor, strides: Collection[int] | None = None) -> dict[int, Tensor]:
        """``(B, 3, H, W)`` to {stride: ``(B, dim, H / stride, W / stride)``}.

        Args:
            image: in the network's own range.
            strides: which heads to compute; all by default. Levels below the coarsest of them are not computed.
        """
        wanted = {int(s) for s in self.heads} if strides is None else set(strides)
        features: dict[int, Tensor] = {}
        x = self._stem_map(image)
        for stride, factor, level in zip(self.strides, self._factors, self.levels, strict=True):
            if self._pool and factor > 1:
                x = F.max_pool2d(x, factor)
            x = level(x)
            if stride in wanted:
                features[stride] = self.heads[str(stride)](x)
            if len(features) == len(wanted):
                break
        return features

    def _stem_map(self, image: Tensor) -> Tensor:
        if fast.usable(image):
            return F.relu(fast.normalised_convolution(image, self.stem))
        return F.relu(F.instance_norm(self.stem(image)))
