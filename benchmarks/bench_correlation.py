"""Local correlation against a loop over shifts: ``pytest benchmarks/bench_correlation.py``."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regbench.ops import local_correlation


def shift_loop(map1: torch.Tensor, map2: torch.Tensor, radius: int) -> torch.Tensor:
    """One elementwise product and one sum for each shift."""
    h, w = map1.shape[-2:]
    padded = F.pad(map2, (radius,) * 4)
    side = range(2 * radius + 1)
    return torch.stack([(map1 * padded[..., y : y + h, x : x + w]).mean(1) for y in side for x in side], 1)


def unfolded(map1: torch.Tensor, map2: torch.Tensor, radius: int) -> torch.Tensor:
    """An einsum over unfolded windows."""
    b, c, h, w = map1.shape
    windows = F.unfold(map2, 2 * radius + 1, padding=radius).view(b, c, -1, h, w)
    return torch.einsum("bchw,bckhw->bkhw", map1, windows) / c


@pytest.mark.parametrize("side", [16, 32, 128])
@pytest.mark.parametrize("function", [local_correlation, shift_loop, unfolded], ids=lambda f: f.__name__)
def test_forward_and_backward(benchmark, function, side):
    batch = 4 if side == 128 else 16
    maps = [torch.randn(batch, 96, side, side, requires_grad=True) for _ in range(2)]

    def step() -> None:
        torch.autograd.grad(function(*maps, 4).sum(), maps)

    benchmark.group = f"{batch} x 96 x {side} x {side}, radius 4"
    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
