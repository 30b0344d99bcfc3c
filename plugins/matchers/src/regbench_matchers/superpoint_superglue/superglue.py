"""SuperGlue: matching as optimal transport after attention within and between images, written from its paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class SuperGlue(nn.Module):
    """SuperGlue (Sarlin et al., CVPR 2020), at its published size.

    Args:
        width: of the descriptors.
        depth: layers, self and cross attention in turn.
        heads: of each attention.
        iterations: of Sinkhorn's algorithm.
        threshold: least probability of a match.
    """

    def __init__(
        self, width: int = 256, depth: int = 18, heads: int = 4, iterations: int = 100, threshold: float = 0.2
    ) -> None:
        super().__init__()
        self.iterations, self.threshold = iterations, threshold
        self.position = _mlp((3, 32, 64, 128, 256, width))
        self.layers = nn.ModuleList(_Attention(width, heads) for _ in range(depth))
        self.project = nn.Conv1d(width, width, 1)
        self.dustbin = nn.Parameter(torch.tensor(1.0))

    def forward(
        self,
        points: tuple[Tensor, Tensor],
        descriptors: tuple[Tensor, Tensor],
        scores: tuple[Tensor, Tensor],
        sizes: tuple[tuple[int, int], tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        """Match the keypoints of two images.

        Args:
            points: ``(1, N, 2)`` and ``(1, M, 2)`` pixels.
            descriptors: ``(1, N, width)`` and ``(1, M, width)``, of length 1.
            scores: ``(1, N)`` and ``(1, M)``, of the detector.
            sizes: (height, width) of both images, px.

        Returns:
            Two index vectors of the same length, into the points of the first and of the second image: pairs that are
            each other's most probable match (section 3.3) with a probability above the threshold.
        """
        if min(p.shape[1] for p in points) == 0:
            none = torch.empty(0, dtype=torch.long, device=points[0].device)
            return none, none
        state = []
        for point, descriptor, score, (h, w) in zip(points, descriptors, scores, sizes, strict=True):
            centre = torch.tensor([w / 2, h / 2], dtype=point.dtype, device=point.device)
            where = (point - centre) / (0.7 * max(h, w))
            state.append(descriptor.mT + self.position(torch.cat([where.mT, score[:, None]], dim=1)))
        a, b = state
        for i, layer in enumerate(self.layers):
            source_a, source_b = (a, b) if i % 2 == 0 else (b, a)
            a, b = a + layer(a, source_a), b + layer(b, source_b)
        a, b = self.project(a), self.project(b)
        affinity = a.mT @ b / math.sqrt(a.shape[1])  # (1, N, M)
        probability = transport(affinity, self.dustbin, self.iterations)[0, :-1, :-1].exp()
        best, j = probability.max(dim=1)
        index = torch.arange(len(j), device=j.device)
        kept = (probability.argmax(dim=0)[j] == index) & (best > self.threshold)
        return index[kept], j[kept]


class _Attention(nn.Module):
    """A message to ``x`` ``(1, width, N)`` from ``source`` ``(1, width, M)``; the channels of the heads interleave."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.merge = (nn.Conv1d(width, width, 1) for _ in range(4))
        self.mlp = _mlp((2 * width, 2 * width, width))

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        query, key, value = (
            layer(y).unflatten(1, (-1, self.heads)).transpose(1, 2)  # (1, heads, width / heads, N)
            for layer, y in ((self.query, x), (self.key, source), (self.value, source))
        )
        weight = (query.mT @ key / math.sqrt(query.shape[2])).softmax(dim=-1)  # (1, heads, N, M)
        message = (value @ weight.mT).transpose(1, 2).flatten(1, 2)
        return self.mlp(torch.cat([x, self.merge(message)], dim=1))


def _mlp(sizes: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


def transport(affinity: Tensor, dustbin: Tensor, iterations: int) -> Tensor:
    """Logarithm of the optimal partial assignment (section 3.2), by Sinkhorn's algorithm.

    Each point has mass 1. The dustbins take what stays unmatched: the first image's has mass M, the second's N.

    Args:
        affinity: ``(1, N, M)``.
        dustbin: the affinity of a point to the dustbin, a scalar.
        iterations: of the algorithm, in log space.

    Returns:
        ``(1, N + 1, M + 1)`` logarithms; rows of points sum to 1, and so do columns after the last iteration.
    """
    _, n, m = affinity.shape
    z = torch.cat([affinity, dustbin.expand(1, n, 1)], dim=2)
    z = torch.cat([z, dustbin.expand(1, 1, m + 1)], dim=1)
    zero = affinity.new_zeros(1, 1)
    log_rows = torch.cat([zero.expand(1, n), zero + math.log(m)], dim=1)
    log_columns = torch.cat([zero.expand(1, m), zero + math.log(n)], dim=1)
    u, v = torch.zeros_like(log_rows), torch.zeros_like(log_columns)
    for _ in range(iterations):
        u = log_rows - (z + v[:, None]).logsumexp(dim=2)
        v = log_columns - (z + u[..., None]).logsumexp(dim=1)
    return z + u[..., None] + v[:, None]
