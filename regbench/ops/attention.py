"""Attention of queries to keys."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Scaled dot-product attention: sums of values, weighted by the softmax of queries times keys.

    Args:
        queries: ``(..., N, D)``, of any order of memory.
        keys: ``(..., M, D)``.
        values: ``(..., M, D)``.

    Returns:
        ``(..., N, D)``.
    """
    if queries.is_cuda:  # no fused kernel takes a transposed view
        queries, keys, values = queries.contiguous(), keys.contiguous(), values.contiguous()
    return F.scaled_dot_product_attention(queries, keys, values)
