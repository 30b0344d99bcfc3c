"""The all-pairs lookup of IHN that computes, of a large volume, only the part near the identity while that suffices."""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import geometry
from regbench.ops.all_pairs import all_pairs_correlation, correlation_windows
from regbench.ops.fast.near_pairs import REACH, Boxes, near_pairs, tiled


class AllPairs:
    """Windows of the correlations of two maps and of their 2 x 2 means, around where a flow leads.

    The volume is computed at the first lookup: near the identity alone where the maps are large (:class:`Boxes`) and
    the flow short (:data:`REACH`), and anew as a whole when a flow first leads further.

    Args:
        source: ``(B, C, h, w)``.
        target: ``(B, C, h, w)``, h and w even.
        radius: half side of the window, in pixels of each level.
    """

    def __init__(self, source: Tensor, target: Tensor, radius: int) -> None:
        self.source, self.target, self.radius = source.float(), target.float(), radius
        self.boxes = Boxes.of_maps((source.shape[-2], source.shape[-1]), radius)
        self.levels: list[Tensor] = []

    def __call__(self, flow: Tensor) -> Tensor:
        """``(B, 2, h, w)`` pixels, x then y, to the windows ``(B, 2 (2r+1)^2, h, w)``, channels last."""
        b, _, h, w = flow.shape
        if self.boxes is not None and not flow.detach().abs().max() <= REACH:
            self.boxes, self.levels = None, []
        if not self.levels:
            self.levels = self._pyramid()
        grid = geometry.pixel_grid((h, w), like=flow).view(1, h, w, 2)
        centre = flow.permute(0, 2, 3, 1) + grid
        if self.boxes is None:
            windows = correlation_windows(self.levels, centre.flatten(0, 2), self.radius)
            return windows.view(b, h, w, -1).permute(0, 3, 1, 2)
        within = tiled(centre) - self.boxes.corner(flow.device)[:, :, None, None]
        windows = correlation_windows(self.levels, within.reshape(-1, 2), self.radius).view(*within.shape[:-1], -1)
        return windows.transpose(2, 3).reshape(b, h, w, -1).permute(0, 3, 1, 2)

    def _pyramid(self) -> list[Tensor]:
        """For each position of the source the target, or its box of the target; then their 2 x 2 means."""
        if self.boxes is None:
            volume = all_pairs_correlation(self.source, self.target)
        else:
            side = self.boxes.side
            volume = near_pairs(self.source, self.target, self.boxes).view(-1, 1, side, side)
        return [volume, means_of_2x2(volume)]


def means_of_2x2(x: Tensor) -> Tensor:
    """``(N, 1, h, w)`` to ``(N, 1, h/2, w/2)``: ``avg_pool2d(x, 2)`` in a fifth of the time it takes on CPUs."""
    upper, lower = torch.unflatten(x, -2, (-1, 2)).unbind(-2)
    left, right = torch.unflatten(upper + lower, -1, (-1, 2)).unbind(-1)
    return (left + right).mul_(0.25)
