"""Checks without labels that strategies log: is the translation faithful, do estimates collapse or diverge?"""

from __future__ import annotations

from torch import Tensor

from regbench import whole_batch
from regbench.ops import structure_correlation


def fidelity(source: Tensor, target: Tensor, translated: Tensor) -> tuple[float, float]:
    """How closely the structure of a translation correlates with that of the source and of the unaligned target.

    A faithful translation has the geometry of the source: the first number is the larger one. The structure is the
    maximum index map of :func:`regbench.ops.structure_correlation`.

    Args:
        source: ``(B, 3, H, W)`` in [0, 1].
        target: the same shape, unaligned.
        translated: the source rendered in the target's modality.

    Returns:
        The correlations with the source and with the target, in [-1, 1], means over the batch.
    """
    to_source, to_target = (structure_correlation(translated, image).mean() for image in (source, target))
    return float(to_source), float(to_target)


def spread_of(displacement: Tensor) -> dict[str, Tensor]:
    """Size and spread of estimates ``(B, 4, 2)`` in pixels: towards zero is collapse, far beyond rho is divergence."""
    displacement = whole_batch.gather(displacement.detach())
    size = displacement.norm(dim=-1)
    return {"estimate": size.mean(), "estimate_spread": displacement.std(dim=0).mean()}
