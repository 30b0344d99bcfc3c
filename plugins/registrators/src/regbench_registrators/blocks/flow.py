"""Dense flow of a four-point homography, and warping by it, in the conventions of IHN and RHWF."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from regbench import geometry
from regbench.ops import homography_flow


def flow_of(displacement: Tensor, stride: int, size: geometry.Size) -> Tensor:
    """The flow of a homography on the grid of a feature map, in pixels of that map.

    The published map: displacement / stride at the corners of the feature grid. Its corner is 31, not 127 / 4, a bias
    below 0.7 full-resolution pixels that is part of what the published weights have learned.

    Args:
        displacement: ``(B, 4, 2)`` full-resolution pixels.
        stride: of the map.
        size: (height, width) of the map.

    Returns:
        ``(B, 2, height, width)``, x then y.
    """
    return homography_flow(displacement, size, stride)


def warp_by_flow(image: Tensor, flow: Tensor) -> Tensor:
    """out(p) = image(p + flow(p)), zero where that is outside.

    The flow of the coarse grid is enlarged bilinearly, corner on corner, and multiplied by the ratio of the sizes. A
    pixel counts as outside where interpolation would mix in more than a thousandth of what lies beyond the border.

    Args:
        image: ``(B, C, H, W)``.
        flow: ``(B, 2, H / s, W / s)`` in its own pixels, x then y; s a whole number.

    Returns:
        ``(B, C, H, W)``.
    """
    h, w = image.shape[-2:]
    ratio = w // flow.shape[-1]
    dense = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=True) * ratio
    points = geometry.pixel_grid((h, w), like=flow).transpose(-1, -2).reshape(1, 2, h, w) + dense
    x, y = points.unbind(1)
    grid = torch.stack([2 * x / (w - 1), 2 * y / (h - 1)], dim=-1) - 1
    sampled = F.grid_sample(image.to(grid.dtype), grid, align_corners=True)
    return sampled * (_covered(x, w) * _covered(y, h) >= 0.999).unsqueeze(1)


def _covered(position: Tensor, extent: int) -> Tensor:
    """The share of bilinear weight that falls on pixels 0 .. extent-1, in [0, 1]."""
    return torch.minimum(position + 1, extent - position).clamp(0, 1)
