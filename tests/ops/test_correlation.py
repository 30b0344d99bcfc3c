"""Local correlation against its definition."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from regbench import geometry
from regbench.ops import local_correlation, warped_correlation
from regbench.ops.fast.correlation_tiles import GROUP


def by_definition(map1, map2, radius):
    """One product a displacement: out[(dy + r) (2r+1) + dx + r] = mean over C of map1 * map2 moved by (dx, dy)."""
    h, w = map1.shape[-2:]
    padded = F.pad(map2, (radius,) * 4)
    window = range(2 * radius + 1)
    return torch.stack([(map1 * padded[..., y : y + h, x : x + w]).mean(1) for y in window for x in window], 1)


def maps(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator) for _ in range(2)]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 27), st.integers(1, 27)),
    st.integers(0, 5),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_correlation_equals_its_definition(shape, radius, dtype):
    map1, map2 = maps(*shape, dtype=dtype)
    found = local_correlation(map1, map2, radius)
    assert found.shape == (shape[0], (2 * radius + 1) ** 2, *shape[2:])
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found, by_definition(map1, map2, radius), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("size", "radius"), [((16, 16), 4), ((13, 21), 4), ((8, 9), 1), ((5, 20), 5), ((9, 9), 0)])
def test_gradients_equal_those_of_the_definition(size, radius):
    weight = maps(2, (2 * radius + 1) ** 2, *size, dtype=torch.float64, seed=1)[0]
    grads = []
    for correlate in (local_correlation, by_definition):
        map1, map2 = (x.requires_grad_() for x in maps(2, 6, *size, dtype=torch.float64))
        (correlate(map1, map2, radius) * weight).sum().backward()
        grads.append((map1.grad, map2.grad))
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("size", "radius"), [((8, 8), 1), ((3, 10), 2), ((10, 6), 4)])
def test_gradcheck(size, radius):
    map1, map2 = (x.requires_grad_() for x in maps(1, 2, *size, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda a, b: local_correlation(a, b, radius), (map1, map2), fast_mode=True)


def led(b, h, w, dtype=torch.float64):
    """Grids that lead some pixels beyond each border."""
    generator = torch.Generator().manual_seed(3)
    return (2.6 * torch.rand(b, h, w, 2, dtype=dtype, generator=generator) - 1.3).requires_grad_()


def warped_by_definition(map1, map2, grid, radius):
    return by_definition(map1, F.grid_sample(map2, grid, padding_mode="border", align_corners=True), radius)


@pytest.mark.parametrize(
    ("shape", "radius"),
    [
        ((2, 5, 16, 24), 4),
        ((1, 3, 13, 9), 2),
        ((3, 4, 8, 8), 0),
        ((1, 2, 1, 5), 1),
        ((GROUP + 3, 2, 8, 8), 1),  # worked through in groups, the last one smaller
        ((GROUP // 9 * 2 + 1, 2, 20, 24), 2),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_warp_within_equals_sampling_before(shape, radius, channels_last):
    weight = maps(shape[0], (2 * radius + 1) ** 2, *shape[2:], dtype=torch.float64, seed=1)[0]
    results = []
    for correlate in (warped_correlation, warped_by_definition):
        pair = maps(*shape, dtype=torch.float64)
        if channels_last:
            pair = [x.to(memory_format=torch.channels_last) for x in pair]
        inputs = [*(x.requires_grad_() for x in pair), led(shape[0], *shape[2:])]
        found = correlate(*inputs, radius)
        results.append((found.detach(), *torch.autograd.grad((found * weight).sum(), inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-11)


def test_gradcheck_of_the_warp_within():
    map1, map2 = (x.requires_grad_() for x in maps(1, 2, 9, 10, dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda a, b, g: warped_correlation(a, b, g, 2), (map1, map2, led(1, 9, 10)), fast_mode=True
    )


def test_the_identity_warp_changes_nothing():
    map1, map2 = maps(2, 7, 24, 40)
    grid = geometry.sampling_grid(torch.eye(3).expand(2, 3, 3), (24, 40), (24, 40))
    torch.testing.assert_close(warped_correlation(map1, map2, grid, 3), local_correlation(map1, map2, 3))


def test_half_precision_is_interpolated_in_full():
    """bf16 places would be pixels off; what is lost is the precision of the features."""
    map1, map2 = (x.bfloat16() for x in maps(1, 32, 8, 136))
    grid = led(1, 8, 136, dtype=torch.float32)
    found = warped_correlation(map1, map2, grid, 4)
    exact = warped_by_definition(map1.float(), map2.float(), grid, 4)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().max() < 2**-6 * exact.abs().max()
    found.float().sum().backward()
    assert grid.grad.isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_places_that_are_none_read_within_the_map(value):
    map1, map2 = (x.requires_grad_() for x in maps(1, 3, 8, 8))
    grid = torch.full((1, 8, 8, 2), value, requires_grad=True)
    found = warped_correlation(map1, map2, grid, 1)
    found.sum().backward()
    assert found.isfinite().all()
    assert grid.grad.count_nonzero() == 0


def test_a_grid_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"grid must be \(B, H, W, 2\) for maps \(1, 2, 8, 8\), got \(1, 8, 9, 2\)"):
        warped_correlation(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 9, 2), 1)


def test_channel_order_is_rows_of_dy_then_dx():
    map1, map2 = torch.zeros(2, 1, 1, 16, 16)
    map1[..., 7, 5] = 1
    map2[..., 7 - 1, 5 + 2] = 3
    found = local_correlation(map1, map2, 2)
    assert found[0, (-1 + 2) * 5 + (2 + 2), 7, 5] == 3
    assert found.count_nonzero() == 1


def test_inputs_need_not_be_contiguous():
    map1, map2 = maps(2, 11, 14, 5)
    expected = local_correlation(map1.permute(0, 3, 1, 2).contiguous(), map2.permute(0, 3, 1, 2).contiguous(), 3)
    map1.requires_grad_()
    found = local_correlation(map1.permute(0, 3, 1, 2), map2.permute(0, 3, 1, 2), 3)
    torch.testing.assert_close(found, expected)
    found.transpose(2, 3).contiguous().sum().backward()  # the incoming gradient is not contiguous either
    again = map1.detach().permute(0, 3, 1, 2).contiguous().requires_grad_()
    by_definition(again, map2.permute(0, 3, 1, 2), 3).sum().backward()
    torch.testing.assert_close(map1.grad.permute(0, 3, 1, 2), again.grad, rtol=0, atol=1e-5)


def test_bf16_stays_within_its_precision():
    map1, map2 = (x.bfloat16().requires_grad_() for x in maps(2, 32, 16, 24))
    found = local_correlation(map1, map2, 4)
    assert found.dtype == torch.bfloat16
    exact = by_definition(map1.detach().float(), map2.detach().float(), 4)
    assert (found.float() - exact).abs().max() < 2**-7 * exact.abs().max()
    found.sum().backward()
    assert map1.grad.dtype == torch.bfloat16
    assert map2.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_leaves_the_maps_dtype(dtype):
    map1, map2 = (x.to(dtype).requires_grad_() for x in maps(1, 8, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        found = local_correlation(map1, map2, 2)
    assert found.dtype == dtype
    found.float().sum().backward()
    assert map1.grad.dtype == map2.grad.dtype == dtype


@pytest.mark.parametrize(
    ("first", "second"), [((1, 2, 8, 8), (1, 3, 8, 8)), ((1, 2, 8, 8), (1, 2, 8, 9)), ((2, 8, 8), (2, 8, 8))]
)
def test_maps_of_other_shapes_are_refused(first, second):
    with pytest.raises(ValueError, match=r"maps must both be \(B, C, H, W\), got"):
        local_correlation(torch.zeros(first), torch.zeros(second), 1)


def test_a_negative_radius_is_refused():
    with pytest.raises(ValueError, match="radius must not be negative, got -1"):
        local_correlation(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), -1)


class Largest(TorchDispatchMode):
    """The most elements any operator's output holds in memory."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                held = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.elements = max(self.elements, held)
        return out


def test_a_batch_is_never_warped():
    """What is in memory at once beyond the maps and the result are the halos of one sample."""
    b, c, h, w = 8, 48, 32, 32
    map1, map2 = (x.to(memory_format=torch.channels_last).requires_grad_() for x in maps(b, c, h, w))
    with Largest() as seen:
        warped_correlation(map1, map2, led(b, h, w, torch.float32), 4).sum().backward()
    assert 0 < seen.elements <= max(b * 81 * h * w, b * c * h * w, 4 * c * h * w)
    assert map2.grad is not None


def test_windows_are_never_unfolded():
    b, c, h, w, radius = 2, 96, 32, 32, 4
    unfolded = b * c * (2 * radius + 1) ** 2 * h * w
    map1, map2 = (x.requires_grad_() for x in maps(b, c, h, w))
    with Largest() as seen:
        local_correlation(map1, map2, radius).sum().backward()
    assert map1.grad is not None
    assert 0 < seen.elements < unfolded / 15
    with Largest() as seen:
        F.unfold(map2.detach(), 2 * radius + 1, padding=radius)
    assert seen.elements >= unfolded


@pytest.mark.parametrize(("shape", "radius"), [((2, 5, 16, 24), 4), ((1, 3, 8, 8), 2), ((2, 4, 9, 17), 0)])
def test_the_form_for_graphs_is_the_same(shape, radius, monkeypatch):
    map1, map2 = maps(*shape)
    expected = by_definition(map1, map2, radius)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    monkeypatch.delattr("regbench.ops.fast.local_correlation.TileCorrelation")  # not called
    torch.testing.assert_close(local_correlation(map1, map2, radius), expected, rtol=0, atol=1e-5)
    grid = led(shape[0], *shape[2:], dtype=torch.float32)
    expected = warped_by_definition(map1, map2, grid, radius)
    torch.testing.assert_close(warped_correlation(map1, map2, grid, radius), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("shape", "radius"), [((2, 5, 16, 24), 4), ((2, 4, 9, 17), 0)])
def test_the_plain_form_is_the_same(shape, radius, monkeypatch):
    grid, weight = led(shape[0], *shape[2:]), maps(shape[0], (2 * radius + 1) ** 2, *shape[2:], dtype=torch.float64)[0]
    results = []
    for fast in (True, False):
        monkeypatch.setattr("regbench.ops.fast.usable", lambda *a, fast=fast, **k: fast)
        inputs = [*(x.requires_grad_() for x in maps(*shape, dtype=torch.float64)), grid]
        correlation = warped_correlation(*inputs, radius)
        results.append((correlation.detach(), *torch.autograd.grad((correlation * weight).sum(), inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-11)
