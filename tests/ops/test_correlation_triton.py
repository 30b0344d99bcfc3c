"""The Triton kernels beside the definition, on CPU tensors in Triton's interpreter: in a process that sets it up."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

CHECK = """
import torch
import torch.nn.functional as F

from regbench.ops.correlation_triton import TritonCorrelation

def by_definition(map1, map2, grid, radius):
    if grid is not None:
        map2 = F.grid_sample(map2, grid, padding_mode="border", align_corners=True)
    h, w = map1.shape[-2:]
    padded = F.pad(map2, (radius,) * 4)
    window = range(2 * radius + 1)
    return torch.stack([(map1 * padded[..., y : y + h, x : x + w]).mean(1) for y in window for x in window], 1)

shape, radius, warped, dtype, tolerance = {arguments}
torch.manual_seed(0)
b, c, h, w = shape
maps = [torch.randn(shape).to(dtype) for _ in range(2)]
maps[1] = maps[1].to(memory_format=torch.channels_last)
# Some of it lies beyond the border. No coordinate is near a pixel's centre, where the derivative has two values.
grid = (torch.rand(b, h, w, 2) * 2.6 - 1.3) if warped else None
weight = torch.randn(b, (2 * radius + 1) ** 2, h, w)
results = []
for function, kind in ((TritonCorrelation.apply, dtype), (by_definition, torch.float32)):
    inputs = [x.detach().to(kind).requires_grad_() for x in maps]
    leads = None if grid is None else grid.clone().requires_grad_()
    out = function(*inputs, leads, radius)
    assert out.dtype == kind
    (out.float() * weight).sum().backward()
    grads = [x.grad.float() for x in inputs] + ([leads.grad] if warped else [])
    results.append([out.detach().float(), *grads])
for found, expected in zip(*results, strict=True):
    assert expected.abs().max() > 0
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < tolerance, error
"""


@pytest.mark.parametrize(
    "arguments",
    [
        "(2, 5, 9, 13), 2, True, torch.float32, 1e-5",
        "(1, 40, 8, 8), 4, True, torch.float32, 1e-5",  # more channels than a chunk
        "(1, 3, 5, 17), 1, False, torch.float32, 1e-5",
        "(1, 3, 8, 1), 0, True, torch.float32, 1e-5",
        "(2, 6, 10, 9), 3, True, torch.bfloat16, 2e-2",
    ],
)
def test_kernels_equal_the_definition(arguments):
    found = subprocess.run(
        [sys.executable, "-c", CHECK.replace("{arguments}", arguments)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-2000:]
