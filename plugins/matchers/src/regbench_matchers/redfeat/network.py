"""The network of ReDFeat: an adapter for each modality, a shared encoder and detector, all at full resolution.

No map is halved: where other encoders use a stride, dilations double. At the published size an adapter has 287,008
parameters, the encoder 442,752 and the detector 104,097. The total of 1,120,865 is that of the released layers; the
paper gives no number.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Network(nn.Module):
    """Dense descriptors and detection scores of both modalities.

    Args:
        width: channels of the adapters, in units of 8, 16 and 32; 4 is the published size.
        dim: of the descriptors.
    """

    def __init__(self, width: int = 4, dim: int = 128) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(_adapter(width) for _ in range(2))
        channels = 32 * width
        self.encoder = nn.ModuleList(
            [
                _block(channels, channels, 4, relu=False),
                _block(channels, channels, 8, relu=False),
                nn.Sequential(nn.Conv2d(channels, dim, 3, padding=16, dilation=16)),
            ]
        )
        self.prior = nn.Conv2d(dim, 1, 1)
        self.conditional = _Conditional(dim)

    def forward(self, image: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Descriptors and scores of one modality.

        Args:
            image: ``(B, 3, H, W)``, mean zero and standard deviation one.
            side: 0 for the source, 1 for the target.

        Returns:
            ``(B, dim, H, W)`` of length 1 and ``(B, 1, H, W)`` in [0, 1].
        """
        x = image
        for blocks in (cast(nn.ModuleList, self.adapters[side]), self.encoder):
            for i, block in enumerate(blocks):
                x = block(x) + x if i % 2 else block(x)
        energy = x.square()
        prior = F.softplus(self.prior(energy))
        return F.normalize(x.float(), dim=1), (prior / (1 + prior)).float() * self.conditional(energy)


def _block(before: int, after: int, dilation: int, relu: bool = True) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(after, affine=False)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


def _adapter(width: int) -> nn.ModuleList:
    sizes = (3, 8 * width, 8 * width, 16 * width, 16 * width, 32 * width, 32 * width)
    dilations = (1, 1, 1, 2, 2, 4)
    return nn.ModuleList(_block(a, b, d) for (a, b), d in zip(pairwise(sizes), dilations, strict=True))


class _Conditional(nn.Module):
    """The probability that a pixel is a keypoint: dilated convolutions, then three learned non-maximum suppressions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)
        sizes = (dim, dim // 2, dim // 4, dim // 8)
        layers: list[nn.Module] = []
        for (before, after), dilation in zip(pairwise(sizes), (1, 2, 4), strict=True):
            convolution = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
            layers += [convolution, nn.BatchNorm2d(after, affine=False), nn.ReLU()]
        self.reduce = nn.Sequential(*layers)
        self.peaks = nn.ModuleList(_Peak(sizes[-1]) for _ in range(3))
        self.last = nn.Conv2d(sizes[-1], 2, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(self.dropout(x))
        for peak in self.peaks:
            x = peak(x)
        return self.last(x).float().softmax(dim=1)[:, :1]


_LARGEST = math.log(1e4)  # responses are clamped to this before their exponential


class _Peak(nn.Module):
    """Learned suppression of non-maxima: the exponential of a response over the mean of its neighbourhood."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.response = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels, affine=False), nn.ReLU()
        )
        self.norm = nn.Sequential(
            nn.BatchNorm2d(channels, affine=False), nn.ReLU(), nn.InstanceNorm2d(channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        # float32, because a mean of 9 needs more than bf16's 8 bits. Clamped before exp, whose gradient would overflow.
        x = self.response(x).float().clamp(max=_LARGEST).exp()
        return self.norm(x / (F.avg_pool2d(x, 3, stride=1, padding=1) + 1e-5))


def standardised(image: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` with mean zero and standard deviation one in each image and channel."""
    mean, spread = image.mean(dim=(-2, -1), keepdim=True), image.std(dim=(-2, -1), keepdim=True)
    return (image - mean) / (spread + 1e-5)


def peaks(score: Tensor, border: int, least: float, count: int) -> Tensor:
    """The strongest local maxima (3 x 3) of a score map.

    Args:
        score: ``(H, W)``.
        border: px at the rim without maxima.
        least: least score.
        count: largest number of maxima.

    Returns:
        ``(N, 2)`` pixels, x then y, strongest first.
    """
    largest = F.max_pool2d(score[None, None], 3, stride=1, padding=1)[0, 0]
    kept = (score == largest) & (score >= least)
    inner = torch.zeros_like(kept)
    inner[border : score.shape[0] - border, border : score.shape[1] - border] = True
    y, x = (kept & inner).nonzero(as_tuple=True)
    order = score[y, x].argsort(descending=True, stable=True)[:count]
    return torch.stack([x[order], y[order]], dim=-1)
