"""What has to hold where CUDA is: the same data and results as on the CPU, and a step that never waits for the host."""

from __future__ import annotations

import pytest
import torch

from regbench import geometry
from regbench.api.types import PairInfo
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler
from regbench.ops import correlation_windows, homography_flow, homography_grid, local_correlation, warped_correlation
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench.tools.cuda_graph import capture_cuda_graph
from tests.simulated_device.test_all import PARTNERS, alone, named
from tests.simulated_device.work import Work, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
PROTOCOL = Protocol(patch=64, rho=16)
VIEWS = ("pair", "self_source", "self_target", "unpaired")


def mcnet(device: str) -> torch.nn.Module:
    component = registry().get("registrator", "mcnet")
    torch.manual_seed(0)
    return component.load()(build_config(component, {"preset": "quick"}), PairInfo(64, 16)).to(device)


def test_sampler_gives_the_same_views_as_on_the_cpu(tiny_pack):
    here, there = (PairSampler(tiny_pack, PROTOCOL, seed=3, device=d, labels=True) for d in ("cpu", "cuda"))
    a, b = (s.batch("stage", 5, 4, VIEWS) for s in (here, there))
    for name in VIEWS:
        for key, value in vars(a.views[name]).items():
            torch.testing.assert_close(vars(b.views[name])[key].cpu(), value, atol=2e-4, rtol=0)


def test_correlation_agrees_with_the_cpu_in_both_directions():
    maps = [torch.randn(2, 32, 24, 20, requires_grad=True) for _ in range(2)]
    moved = [m.detach().cuda().requires_grad_() for m in maps]
    a, b = local_correlation(*maps, 4), local_correlation(*moved, 4)
    torch.testing.assert_close(b.cpu(), a, atol=1e-4, rtol=1e-4)
    for x, y in zip(torch.autograd.grad(a.sum(), maps), torch.autograd.grad(b.sum(), moved), strict=True):
        torch.testing.assert_close(y.cpu(), x, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_training_step_never_waits_for_the_host(tiny_pack, precision):
    sampler = PairSampler(tiny_pack, PROTOCOL, seed=0, device="cuda", labels=True)
    network = mcnet("cuda")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(number: int) -> torch.Tensor:
        pair = sampler.batch("stage", number, 4, ("pair", "self_source")).pair
        with torch.autocast("cuda", torch.bfloat16, enabled=precision is torch.bfloat16):
            loss = network.loss(network(pair.source, pair.target), pair.displacement)
        optimiser.zero_grad()
        torch.autograd.backward(loss, inputs=list(network.parameters()))
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        return loss

    step(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = step(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(loss)


def test_registration_agrees_with_the_cpu(tiny_pack):
    pair = PairSampler(tiny_pack, PROTOCOL, seed=0).batch("stage", 0, 4, ("pair",)).pair
    a = mcnet("cpu").eval()(pair.source, pair.target).displacement
    b = mcnet("cuda").eval()(pair.source.cuda(), pair.target.cuda()).displacement
    torch.testing.assert_close(b.cpu(), a, atol=2e-2, rtol=1e-3)


def test_warped_correlation_agrees_with_the_cpu_in_both_directions():
    torch.manual_seed(0)
    maps = [torch.randn(2, 40, 24, 20, requires_grad=True) for _ in range(2)]
    grid = (2.4 * torch.rand(2, 24, 20, 2) - 1.2).requires_grad_()  # some of it beyond the border
    moved = [x.detach().cuda().requires_grad_() for x in (*maps, grid)]
    a, b = warped_correlation(*maps, grid, 4), warped_correlation(*moved, 4)
    torch.testing.assert_close(b.cpu(), a, atol=1e-4, rtol=1e-4)
    weight = torch.randn_like(a)
    expected = torch.autograd.grad((a * weight).sum(), (*maps, grid))
    for x, y in zip(expected, torch.autograd.grad((b * weight.cuda()).sum(), moved), strict=True):
        torch.testing.assert_close(y.cpu(), x, atol=1e-3 * float(x.abs().max()), rtol=1e-3)


def test_a_recorded_network_answers_as_the_network_does():
    network = mcnet("cuda").eval()

    def estimate(source, target):
        return network(source, target).displacement

    images = torch.rand(4, 1, 3, 64, 64, device="cuda").unbind()
    with torch.inference_mode():
        replay = capture_cuda_graph(estimate, *images[:2])
        assert replay is not None
        for pair in (images[:2], images[2:]):
            torch.testing.assert_close(replay(*pair), estimate(*pair), atol=1e-2, rtol=1e-3)


def test_a_function_that_waits_for_the_device_is_not_recorded():
    assert capture_cuda_graph(lambda x: x * float(x.sum()), torch.ones(3, device="cuda")) is None
    assert float(torch.ones(3, device="cuda").sum()) == 3.0  # the device is as usable as before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", PARTNERS)
def test_every_strategy_trains_resumes_and_never_waits(strategy, precision):
    """As on the simulated device; a wait raises."""
    registrator, translator = PARTNERS[strategy]
    run(Work(registrator, strategy, translator, precision))


@pytest.mark.parametrize("translator", [name for name in named("translator") if alone(name)])
def test_every_translator_trains_resumes_and_never_waits(translator):
    run(Work("mcnet", "translate", translator))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_correlation_in_both_precisions_and_orders_of_memory(precision, order):
    torch.manual_seed(0)
    maps = [torch.randn(2, 40, 24, 20, dtype=precision).float().requires_grad_() for _ in range(2)]
    moved = [m.detach().to("cuda", precision, memory_format=order).requires_grad_() for m in maps]
    a, b = local_correlation(*maps, 4), local_correlation(*moved, 4)
    close = {"atol": 1e-4, "rtol": 1e-4} if precision is torch.float32 else {"atol": 2e-2, "rtol": 2e-2}
    torch.testing.assert_close(b.float().cpu(), a, **close)
    expected = torch.autograd.grad(a.sum(), maps)
    for x, y in zip(expected, torch.autograd.grad(b.float().sum(), moved), strict=True):
        torch.testing.assert_close(y.float().cpu(), x, atol=10 * close["atol"], rtol=10 * close["rtol"])


@pytest.mark.parametrize("operator", [homography_grid, homography_flow])
def test_coordinates_of_a_homography_agree_with_the_cpu_in_both_directions(operator):
    d = 6 * torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    here, there = d.clone().requires_grad_(), d.cuda().requires_grad_()
    a, b = operator(here, (32, 40), 4.0), operator(there, (32, 40), 4.0)
    torch.testing.assert_close(b.cpu(), a, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(a)
    (expected,) = torch.autograd.grad((a * weight).sum(), here)
    (found,) = torch.autograd.grad((b * weight.cuda()).sum(), there)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


def test_coordinates_keep_their_precision_under_autocast_and_with_tf32():
    d = 8 * torch.randn(4, 4, 2, generator=torch.Generator().manual_seed(0))
    h = geometry.homography_from_displacement(d, (128, 128))
    expected = geometry.displacement_from_homography(geometry.compose(h, h), (128, 128))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            moved = h.cuda()
            found = geometry.displacement_from_homography(geometry.compose(moved, moved), (128, 128))
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=1e-5)


def test_as_many_windows_as_ihn_looks_up_at_its_published_batch():
    """cuDNN's sampler refuses a batch of 65,536."""
    volume = torch.rand(65_536, 1, 8, 8, device="cuda", requires_grad=True)
    windows = correlation_windows([volume], torch.full((65_536, 2), 3.5, device="cuda"), 1)
    windows.sum().backward()
    assert torch.isfinite(windows).all()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_the_second_gpu_works_alone():
    run(Work("mcnet", "supervised", device="cuda:1"))
