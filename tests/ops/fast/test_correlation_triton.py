"""The Triton kernels beside the definition, on CPU tensors in Triton's interpreter, and compiled for a GPU."""

import pytest

from tests.ops.fast.triton_scripts import NEEDS_TRITON, OLD_INTERPRETER, compiling, interpreted

pytestmark = NEEDS_TRITON

CHECK = """
import torch
import torch.nn.functional as F

from regbench.ops.fast.correlation_triton import TritonCorrelation

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


@OLD_INTERPRETER
@pytest.mark.parametrize(
    "arguments",
    [
        "(2, 5, 3, 9), 2, True, torch.float32, 1e-5",
        "(1, 40, 8, 8), 1, False, torch.float32, 1e-5",  # more channels than a chunk
        pytest.param("(2, 40, 9, 13), 4, True, torch.float32, 1e-5", marks=pytest.mark.slow),
        pytest.param("(1, 3, 8, 1), 0, True, torch.float32, 1e-5", marks=pytest.mark.slow),
        pytest.param("(2, 6, 10, 9), 3, True, torch.bfloat16, 2e-2", marks=pytest.mark.slow),
    ],
)
def test_kernels_equal_the_definition(arguments):
    interpreted(CHECK.replace("{arguments}", arguments))


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from regbench.ops.fast import correlation_triton

kernel, pointer, precision = getattr(correlation_triton, "{name}"), "{pointer}", "{precision}"
constants = dict(RADIUS=4, SIDE=16, GRID=True, PRECISION=precision, TILE=8, CHUNK=32)
in_the_maps_dtype = ("map1", "map2", "grad", "out", "d_map1")
types = {name: "constexpr" if name in constants else "i32" for name in kernel.arg_names}
types |= {name: pointer for name in kernel.arg_names if name in in_the_maps_dtype}
types |= {name: "*fp32" for name in kernel.arg_names if name in ("grid", "d_grid", "d_map2")}
where = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
source = ASTSource(fn=kernel, signature=types, constexprs=where)
found = compile(source, target=GPUTarget("cuda", 90, 32))
assert len(found.asm["cubin"]) > 1000
assert found.metadata.shared <= 48 * 1024, found.metadata.shared  # what any NVIDIA GPU gives a block
"""


@pytest.mark.parametrize("name", ["_forward", "_backward"])
@pytest.mark.parametrize(
    ("pointer", "precision"), [("*fp32", "ieee"), pytest.param("*bf16", "tf32", marks=pytest.mark.slow)]
)
def test_kernels_compile_for_a_gpu(name, pointer, precision, tmp_path):
    code = COMPILE.replace("{name}", name).replace("{pointer}", pointer).replace("{precision}", precision)
    compiling(code, tmp_path)
