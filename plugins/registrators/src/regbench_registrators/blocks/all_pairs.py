"""The correlation lookup of RAFT (ECCV 2020) as IHN (CVPR 2022, sec. 3) uses it."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from regbench import geometry
from regbench.ops import all_pairs_correlation, correlation_windows, fast

LEVELS = 2


class AllPairs:
    """Correlations of every position of one map with every position of another, computed once, looked up often.

    Two levels: the volume, relu of the raw dot products, and its 2 x 2 means over the target's axes.

    Args:
        source: ``(B, C, h, w)``.
        target: ``(B, C, h, w)``, h and w even.
        radius: half side of the window, in pixels of each level.
    """

    def __init__(self, source: Tensor, target: Tensor, radius: int) -> None:
        volume = all_pairs_correlation(source, target)
        self.levels = [volume, F.avg_pool2d(volume, 2)]
        self.radius = radius

    def __call__(self, flow: Tensor) -> Tensor:
        """The windows around where the flow leads.

        Args:
            flow: ``(B, 2, h, w)`` pixels of the map, x then y.

        Returns:
            ``(B, 2 (2r+1)^2, h, w)`` float32: the volume's window, then that of its means; the order within a window
            is that of :func:`regbench.ops.correlation_windows`.
        """
        b, _, h, w = flow.shape
        centre = flow.permute(0, 2, 3, 1) + geometry.pixel_grid((h, w), like=flow).view(1, h, w, 2)
        windows = correlation_windows(self.levels, centre.flatten(0, 2), self.radius)
        return windows.view(b, h, w, -1).permute(0, 3, 1, 2)


def all_pairs(source: Tensor, target: Tensor, radius: int) -> Callable[[Tensor], Tensor]:
    """The lookup :class:`AllPairs` of two maps; arguments as there."""
    if fast.usable(source):
        return fast.AllPairs(source, target, radius)
    return AllPairs(source, target, radius)
