"""Sampling coordinates straight from displacements: the plain form, and its kernels in Triton's interpreter."""

import pytest
import torch

from regbench import geometry
from regbench.ops import homography_flow, homography_grid
from tests.ops.fast.triton_scripts import NEEDS_TRITON, OLD_INTERPRETER, compiling, interpreted

CHECK = """
import torch

from regbench import geometry
from regbench.ops import homography_flow, homography_grid
from regbench.ops.fast.homography_triton import HomographyGrid

size, stride, share = {arguments}
generator = torch.Generator().manual_seed(0)
displacement = (2 * torch.rand(3, 4, 2, generator=generator) - 1) * share * min(size) * stride
displacement[0] = 0
for flow, plain in ((False, homography_grid), (True, homography_flow)):
    results = []
    for function in (lambda d: HomographyGrid.apply(d, size, stride, flow), lambda d: plain(d, size, stride)):
        kind = torch.float64 if results else torch.float32
        d = displacement.detach().clone().to(kind).requires_grad_()
        out = function(d)
        weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
        (out * weight).sum().backward()
        results.append((out.detach().double(), d.grad.double()))
    for found, expected in zip(*results, strict=True):
        error = float((found - expected).abs().max() / expected.abs().max())
        assert error < 2e-5, (flow, error)
"""


@NEEDS_TRITON
@OLD_INTERPRETER
@pytest.mark.parametrize("arguments", ["(9, 13), 1.0, 0.24", "(32, 32), 4.0, 0.24", "(40, 33), 2.0, 0.2"])
def test_kernels_equal_the_closed_form_in_double_precision(arguments):
    interpreted(CHECK.replace("{arguments}", arguments))


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from regbench.ops.fast import homography_triton

kernel = getattr(homography_triton, "{name}")
constants = dict(FLOW={flow}, HORIZON=1e-6, BLOCK=1024)
types = {name: "constexpr" if name in constants else "*fp32" for name in kernel.arg_names}
types |= {"h": "i32", "w": "i32", "scale": "fp32"}
where = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
found = compile(ASTSource(fn=kernel, signature=types, constexprs=where), target=GPUTarget("cuda", 90, 32))
assert len(found.asm["cubin"]) > 1000
"""


@NEEDS_TRITON
@pytest.mark.parametrize("name", ["_forward", "_backward"])
@pytest.mark.parametrize("flow", [False, True])
def test_kernels_compile_for_a_gpu(name, flow, tmp_path):
    compiling(COMPILE.replace("{name}", name).replace("{flow}", str(flow)), tmp_path)


def test_on_a_cpu_it_is_the_two_operators_it_stands_for():
    displacement = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    h = geometry.homography_from_displacement(displacement / 4, (12, 20))
    assert torch.equal(homography_grid(displacement, (12, 20), 4), geometry.sampling_grid(h, (12, 20), (12, 20)))
    points = geometry.pixel_grid((12, 20))
    flow = homography_flow(displacement, (12, 20), 4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(flow, geometry.transform_points(h, points) - points)
