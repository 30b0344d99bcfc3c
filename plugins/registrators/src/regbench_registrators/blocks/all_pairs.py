"""All-pairs correlation with a lookup (from RAFT, ECCV 2020; here as IHN, CVPR 2022, uses it)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench import geometry
from regbench_registrators.blocks.near_pairs import REACH, Boxes, near_pairs, tiled

LEVELS = 2


class AllPairs:
    """Correlations of every position of one map with every position of another, computed once, looked up often.

    The volume is the raw dot product of the features, neither normalised nor divided by the channels, then ReLU. A
    second level pools it 2 x 2 over the target's axes. On CPUs, of a large map, only the part near the identity is
    computed, until a flow leads further.

    Args:
        source: ``(B, C, h, w)``.
        target: ``(B, C, h, w)``, h and w even.
        radius: half side of the window, in pixels of each level.
    """

    def __init__(self, source: Tensor, target: Tensor, radius: int) -> None:
        # The dot product of 256 channels is large: eight bits of mixed precision would quantise it.
        self.source, self.target = source.float(), target.float()
        self.radius = radius
        # Elsewhere a look at the flow would make the host wait, or be frozen into a graph.
        here = source.device.type == "cpu" and not torch.onnx.is_in_onnx_export()
        self.boxes = Boxes.worthwhile((source.shape[-2], source.shape[-1]), radius) if here else None
        self.levels: list[Tensor] = []

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
        if self.boxes is not None and not flow.detach().abs().max() <= REACH:
            self.boxes, self.levels = None, []
        if not self.levels:
            with torch.autocast(flow.device.type, enabled=False):
                self.levels = self._volume()
        grid = geometry.pixel_grid((h, w), device=flow.device).view(1, h, w, 2)
        centre = flow.permute(0, 2, 3, 1) + grid
        if self.boxes is None:
            return self._windows(centre.flatten(0, 2)).view(b, h, w, -1).permute(0, 3, 1, 2)
        within = tiled(centre) - self.boxes.corner(flow.device)[:, :, None, None]
        found = self._windows(within.reshape(-1, 2)).view(*within.shape[:-1], -1)
        return found.transpose(2, 3).reshape(b, h, w, -1).permute(0, 3, 1, 2)

    def _volume(self) -> list[Tensor]:
        """Levels ``(positions, 1, height, width)``: for each position of the source the target, or its box."""
        if self.boxes is None:
            size = self.target.shape[-2:]
            # In place: the volume is the largest tensor of all.
            volume = torch.matmul(self.source.flatten(2).transpose(-1, -2), self.target.flatten(2)).relu_()
        else:
            size = torch.Size((self.boxes.side, self.boxes.side))
            volume = near_pairs(self.source, self.target, self.boxes)
        levels = [volume.view(-1, 1, *size)]
        for _ in range(1, LEVELS):
            levels.append(_pooled(levels[-1]))
        return levels

    def _windows(self, centre: Tensor) -> Tensor:
        """Around a centre ``(positions, 2)`` in each position's own volume: ``(positions, 2 (2r+1)^2)``."""
        side = 2 * self.radius + 1
        offset = (geometry.pixel_grid((side, side), device=centre.device) - self.radius).flip(-1).reshape(side, side, 2)
        found = []
        for i, level in enumerate(self.levels):
            scale = 2 / (level.shape[-1] - 1)
            grid = (centre * (scale / 2**i) - 1)[:, None, None] + offset * scale
            found.append(F.grid_sample(level, grid, align_corners=True).flatten(1))
        return torch.cat(found, dim=-1)


def _pooled(level: Tensor) -> Tensor:
    """Means of 2 x 2: on CPUs in a fifth of the time that average pooling takes."""
    upper, lower = level.unflatten(-2, (-1, 2)).unbind(-2)
    left, right = (upper + lower).unflatten(-1, (-1, 2)).unbind(-1)
    return (left + right).mul_(0.25)
