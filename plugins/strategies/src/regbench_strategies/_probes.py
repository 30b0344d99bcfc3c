"""Label-free health checks that strategies log: is the translation faithful, do estimates collapse or diverge?"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench.ops import maximum_index_map


def fidelity(source: Tensor, target: Tensor, translated: Tensor) -> tuple[float, float]:
    """Correlation of the translation's MIM with the source's and with the unaligned target's, mean over the batch.

    A faithful translation has the geometry of the source: the first number is the larger one.

    Args:
        source: ``(B, 3, H, W)`` in [0, 1].
        target: the same shape, unaligned.
        translated: the source rendered in the target's modality.
    """
    maps = [maximum_index_map(image) for image in (translated, source, target)]
    return float(_correlation(maps[0], maps[1])), float(_correlation(maps[0], maps[2]))


def spread_of(displacement: Tensor) -> dict[str, Tensor]:
    """Size and spread of estimates ``(B, 4, 2)`` in pixels: towards zero is collapse, far beyond rho is divergence."""
    size = displacement.norm(dim=-1)
    return {"estimate": size.mean(), "estimate_spread": displacement.std(dim=0).mean()}


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = (x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True) for x in (a, b))
    return torch.nn.functional.cosine_similarity(a, b, dim=1).mean()
