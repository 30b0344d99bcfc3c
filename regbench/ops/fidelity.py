"""Whether two images share their geometry, whatever their modality: correlation of maximum index maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from regbench.ops.log_gabor import maximum_index_map


def structure_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of two images' maximum index maps, ``(B,)`` in [-1, 1]: 1 where their structures coincide.

    A translation that keeps its source's geometry correlates with the source more than with an unaligned target.

    Args:
        first: ``(B, 3, H, W)`` in [0, 1].
        second: the same shape.
    """
    a, b = (maximum_index_map(image).flatten(1) for image in (first, second))
    return F.cosine_similarity(a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True), dim=1)
