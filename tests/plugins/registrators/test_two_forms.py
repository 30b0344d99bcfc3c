"""Blocks in their plain form, as the papers have them, beside the fast form that takes its place on CPUs."""

from __future__ import annotations

import pytest
import torch

from regbench_registrators.blocks.decoder import HalvingDecoder, ProjectingDecoder
from regbench_registrators.blocks.encoder import ResidualEncoder
from regbench_registrators.blocks.residual import ResidualBlock

BLOCKS = {
    "residual block": (lambda: ResidualBlock(5, 8), 5),
    "residual block that halves": (lambda: ResidualBlock(5, 8, 2), 5),
    "projecting decoder": (lambda: ProjectingDecoder(5, 16, 3, groups=8), 5),
    "projecting decoder of SSHNet": (lambda: ProjectingDecoder(5, 16, 3, groups=2, before=2), 5),
    "halving decoder": (lambda: HalvingDecoder(5, 16, 3), 5),
    "encoder": (lambda: Coarsest(pool=False), 3),
    "encoder that pools": (lambda: Coarsest(pool=True), 3),
}


class Coarsest(ResidualEncoder):
    """Features at the coarsest stride alone."""

    def __init__(self, pool):
        super().__init__(stem=4, kernel=3, stem_stride=1, levels={2: 6, 4: 8}, heads=(4,), dim=5, pool=pool)

    def forward(self, image):
        return super().forward(image)[4]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", BLOCKS)
def test_both_forms_have_the_same_results_and_gradients(name, memory_format, monkeypatch):
    torch.manual_seed(0)
    make, channels = BLOCKS[name]
    block = make().double()
    x = torch.randn(3, channels, 16, 16, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    results = []
    for fast in (True, False):
        monkeypatch.setattr("regbench.ops.fast.usable", lambda *a, fast=fast, **k: fast)
        out = block(x)
        weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
        inputs = [x, *block.parameters()]
        results.append((out.detach(), *torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", BLOCKS)
def test_autocast_trains(name):
    make, channels = BLOCKS[name]
    x = torch.randn(1, channels, 16, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = make()(x)
    out.float().square().sum().backward()
    assert x.grad.isfinite().all()
