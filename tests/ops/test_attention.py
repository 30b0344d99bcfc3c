"""Attention, by its definition."""

import torch

from regbench.ops import attention


def test_attention_is_the_sum_of_values_weighted_by_the_softmax_of_products():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 8, n).mT for n in (5, 7, 7))  # transposed views, as of (channels, pixels)
    expected = torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v
    torch.testing.assert_close(attention(q, k, v), expected)
