"""All-pairs correlation with a lookup (from RAFT, ECCV 2020; here as IHN, CVPR 2022, uses it)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench import geometry

LEVELS = 2


class AllPairs:
    """Correlations of every position of one map with every position of another, computed once, looked up often.

    The volume is the raw dot product of the features, neither normalised nor divided by the channels, then ReLU. A
    second level pools it 2 x 2 over the target's axes.

    Args:
        source: ``(B, C, h, w)``.
        target: ``(B, C, h, w)``, h and w even.
        radius: half side of the window, in pixels of each level.
    """

    def __init__(self, source: Tensor, target: Tensor, radius: int) -> None:
        b, _, h, w = source.shape
        self.radius = radius
        # The dot product of 256 channels is large: eight bits of mixed precision would quantise it.
        with torch.autocast(source.device.type, enabled=False):
            volume = torch.matmul(source.float().flatten(2).transpose(-1, -2), target.float().flatten(2)).relu()
        self.levels = [volume.reshape(b * h * w, 1, h, w)]
        for _ in range(1, LEVELS):
            self.levels.append(F.avg_pool2d(self.levels[-1], 2))

    def __call__(self, flow: Tensor) -> Tensor:
        """The window around where the flow leads, bilinear, zero outside the target.

        The window's first index moves x, its second y: channel (i * (2r+1) + j) is the offset (i - r, j - r). That is
        the published order, transposed against MCNet's.

        Args:
            flow: ``(B, 2, h, w)`` pixels of the map, x then y.

        Returns:
            ``(B, 2 (2r+1)^2, h, w)`` float32: the volume, then its pooled level.
        """
        b, _, h, w = flow.shape
        side = 2 * self.radius + 1
        centre = flow.flatten(2).transpose(-1, -2) + geometry.pixel_grid((h, w), device=flow.device)  # (B, h*w, 2)
        centre = centre.reshape(b * h * w, 1, 1, 2)
        offset = (
            (geometry.pixel_grid((side, side), device=flow.device) - self.radius).flip(-1).reshape(1, side, side, 2)
        )
        found = []
        for i, level in enumerate(self.levels):
            extent = level.shape[-1]
            grid = (centre / 2**i + offset) * (2 / (extent - 1)) - 1
            found.append(F.grid_sample(level, grid, align_corners=True).reshape(b, h, w, side * side))
        return torch.cat(found, dim=-1).permute(0, 3, 1, 2)
