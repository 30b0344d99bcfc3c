"""SuperPoint: a fully convolutional detector and descriptor, written from its paper."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CELL = 8
_BORDER = 4  # px at the rim without keypoints
_RADIUS = 4  # of non-maximum suppression, px


class SuperPoint(nn.Module):
    """SuperPoint (DeTone, Malisiewicz and Rabinovich, CVPR Workshops 2018), at its published size.

    The encoder has eight convolutions and halves the resolution after every second one but the last. The detection head
    has 65 classes per cell of 8 x 8 px (its pixels and "none"); the descriptor head gives 256 dimensions per cell.

    Args:
        count: strongest keypoints kept.
        threshold: least probability of a keypoint.
    """

    def __init__(self, count: int = 1024, threshold: float = 0.005) -> None:
        super().__init__()
        self.count, self.threshold = count, threshold
        sizes = (1, 64, 64, 64, 64, 128, 128, 128, 128)
        self.encoder = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(sizes))
        self.detector = nn.ModuleList([nn.Conv2d(128, 256, 3, padding=1), nn.Conv2d(256, _CELL**2 + 1, 1)])
        self.descriptor = nn.ModuleList([nn.Conv2d(128, 256, 3, padding=1), nn.Conv2d(256, 256, 1)])

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keypoints of one image.

        Args:
            grey: ``(1, 1, H, W)`` in [0, 1]; pixels beyond the last whole cell of 8 px hold no keypoints.

        Returns:
            Points ``(1, N, 2)`` at whole pixels, strongest first, descriptors ``(1, N, 256)`` of length 1 and
            probabilities ``(1, N)``.
        """
        x = grey
        for i, layer in enumerate(self.encoder):
            x = torch.relu(layer(x))
            if i % 2 and i < len(self.encoder) - 1:
                x = F.max_pool2d(x, 2)
        logits = self.detector[1](torch.relu(self.detector[0](x)))
        heat = F.pixel_shuffle(logits.softmax(dim=1)[:, :-1], _CELL)[0, 0]  # (8h, 8w)
        dense = F.normalize(self.descriptor[1](torch.relu(self.descriptor[0](x))), dim=1)
        peaks = suppress(heat, _RADIUS)
        inner = torch.zeros_like(peaks, dtype=torch.bool)
        inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
        y, x_ = ((peaks > self.threshold) & inner).nonzero(as_tuple=True)
        score, order = peaks[y, x_].sort(descending=True, stable=True)
        order = order[: self.count]
        points = torch.stack([x_[order], y[order]], dim=-1).float()
        return points[None], sample(dense, points)[None], score[: self.count][None]


def suppress(heat: Tensor, radius: int) -> Tensor:
    """Set a map ``(H, W)`` to zero except at its maxima within ``radius`` px.

    As in the authors' code, two further rounds restore maxima that only a suppressed neighbour had hidden.
    """

    def largest(x: Tensor) -> Tensor:
        return F.max_pool2d(x[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]

    kept = heat == largest(heat)
    for _ in range(2):
        near = largest(kept.float()) > 0
        rest = heat.masked_fill(near, 0.0)
        kept = kept | ((rest == largest(rest)) & ~near)
    return heat * kept


def sample(dense: Tensor, points: Tensor) -> Tensor:
    """Descriptors ``(N, C)`` of length 1 at pixels ``(N, 2)``, from a map ``(1, C, h, w)`` of 8 px cells.

    The map is stretched from the first cell's centre to the last pixel, as in the code the weights were published with;
    the exact range would end at the last cell's centre.
    """
    h, w = dense.shape[-2:]
    first = (_CELL - 1) / 2
    span = torch.tensor([w, h], dtype=points.dtype, device=points.device) * _CELL - 1 - first
    grid = (points - first) / span * 2 - 1
    sampled = F.grid_sample(dense, grid[None, None], align_corners=True)  # (1, C, 1, N)
    return F.normalize(sampled[0, :, 0].T, dim=1)
