"""Halving and doubling without aliasing, against a loop and the published transposed convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from regbench.ops import BlurDown, blur_up


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_blurred_halving_is_a_binomial_at_even_pixels():
    x = torch.rand(1, 2, 8, 6, generator=seeded())
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    weights = [1, 2, 1]
    expected = torch.zeros(1, 2, 4, 3)
    for row in range(4):
        for column in range(3):
            for i, a in enumerate(weights):
                for j, b in enumerate(weights):
                    expected[..., row, column] += a * b / 16 * padded[..., 2 * row + i, 2 * column + j]
    torch.testing.assert_close(BlurDown()(x), expected)


def test_blurred_doubling_is_the_published_transposed_convolution():
    x = torch.rand(2, 3, 5, 7, generator=seeded())
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(line, line) / 64 * 4).expand(3, 1, -1, -1)
    whole = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=3)
    torch.testing.assert_close(blur_up()(x), whole[..., 3:-3, 3:-3])
