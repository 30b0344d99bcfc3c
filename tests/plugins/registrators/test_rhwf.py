"""RHWF: the published sizes, the correlation against a naive form, what each iteration sees."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from regbench import PairInfo, Registration, geometry
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench_registrators.rhwf import RHWF, FocusTransformer, Motion, RHWFConfig


def build(name="rhwf", patch=128, device="meta", **settings):
    component = next(c for c in registry().all("registrator") if c.name == name)
    with torch.device(device):
        return RHWF(build_config(component, settings), PairInfo(patch=patch))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


class Says(torch.nn.Module):
    """A decoder that says the same whatever it sees."""

    def __init__(self, increment):
        super().__init__()
        self.increment = torch.tensor(increment)

    def forward(self, x):
        return self.increment.expand(x.shape[0], 4, 2)


# --- sizes


@pytest.mark.parametrize(("name", "count"), [("rhwf1", 930_114), ("rhwf", 1_292_868)])
def test_published_networks_have_the_published_parameters(name, count):
    network = build(name)
    assert parameters(network) == count
    assert parameters(network.encoder) == 344_688


def test_dead_convolution_of_one_scale_is_counted():
    assert parameters(build("rhwf1").encoder.heads["2"]) == 5_472


@pytest.mark.parametrize("name", ["rhwf", "rhwf1"])
@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (128, "tiny"), (32, "tiny")])
def test_presets_estimate_once_an_iteration(name, patch, preset):
    torch.manual_seed(0)
    network = build(name, patch, "cpu", preset=preset).eval()
    source, target = torch.rand(2, 3, 3, patch, patch)
    with torch.no_grad():
        found = network(source, target)
        alone = network(source[1:2], target[1:2])  # images do not influence each other
        assert network.features(source).shape[-1] == patch // network.strides[0]
    count = sum(len(windows) for windows in network.config.windows[: len(network.strides)])
    assert found.displacements.shape == (count, 3, 4, 2)
    assert found.size == (patch, patch)
    torch.testing.assert_close(alone.displacements, found.displacements[:, 1:2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("patch", [96, 8])
def test_wrong_patch_says_what_is_needed(patch):
    with pytest.raises(ValueError, match=f"RHWF .* power of two, at least 16 px; got {patch}"):
        build(patch=patch)


@pytest.mark.parametrize("windows", [((4,), (3,)), ((3, -1), (3,)), ((), (3,))])
def test_impossible_windows_are_named(windows):
    with pytest.raises(ValidationError, match="side is odd, or 0"):
        RHWFConfig(windows=windows)


# --- correlation


def products(source, target, radius):
    """Dot products with the window, one pixel after the other; zero outside."""
    h, w = source.shape[1:]
    out = torch.zeros(2 * radius + 1, 2 * radius + 1, h, w)
    for y in range(h):
        for x in range(w):
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    if 0 <= y + dy < h and 0 <= x + dx < w:
                        out[dy + radius, dx + radius, y, x] = source[:, y, x] @ target[:, y + dy, x + dx]
    return out.relu()


@pytest.mark.parametrize(("radius", "wide"), [(4, True), (2, True), (2, False)])
def test_motion_reads_the_window_coarse_and_fine(radius, wide):
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, 1, 3, 6, 6, generator=generator)
    motion = Motion(radius, wide, 7)
    window = products(source[0], target[0], radius)
    if wide:
        means = F.avg_pool2d(window.flatten(2).permute(2, 0, 1), 2).permute(1, 2, 0).flatten(0, 1)
        centre = window[radius // 2 : -(radius // 2), radius // 2 : -(radius // 2)].flatten(0, 1).flatten(1)
        expected = torch.cat([means, centre])
    else:
        expected = window.flatten(0, 1).flatten(1)
    expected = motion.project(expected.reshape(1, -1, 6, 6)).relu()
    torch.testing.assert_close(motion(source, target), expected, atol=1e-4, rtol=1e-4)


def test_published_window_has_the_published_channels():
    network = build()
    assert [m.project.in_channels for m in network.motions] == [64 + 81, 81]


@pytest.mark.parametrize("window", [0, 3])
def test_transformer_treats_both_maps_alike(window):
    torch.manual_seed(0)
    transformer = FocusTransformer(8)
    source, target = torch.randn(2, 2, 8, 16, 16)
    first, second = transformer(source, target, window)
    swapped = transformer(target, source, window)
    torch.testing.assert_close((second, first), swapped, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(first, second)


def test_window_bounds_what_is_attended_to():
    torch.manual_seed(0)
    transformer = FocusTransformer(8)
    source, target = torch.randn(2, 1, 8, 16, 16)
    changed = target.clone()
    changed[..., 15, 15] += 5
    for window, reach in ((0, True), (3, False)):
        before, after = (transformer(source, t, window)[0] for t in (target, changed))
        assert (not torch.equal(before[..., 0, 0], after[..., 0, 0])) == reach
        assert not torch.equal(before[..., 15, 15], after[..., 15, 15])


# --- what each iteration sees


def test_every_iteration_encodes_the_target_warped_by_the_last_estimate():
    torch.manual_seed(0)
    network = build("rhwf", 64, "cpu", preset="tiny", windows=((0, 3), (3, 3))).eval()
    for i, step in enumerate(([[4.0, -2.0]] * 4, [[-1.0, 3.0]] * 4)):
        network.decoders[i] = Says(step)
    calls = []
    network.encoder.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    source, target = torch.rand(2, 1, 3, 64, 64)
    found = network(source, target).displacements
    expected = torch.tensor([[4.0, -2.0], [8.0, -4.0], [7.0, -1.0], [6.0, 2.0]])
    torch.testing.assert_close(found, expected.view(4, 1, 1, 2).expand(4, 1, 4, 2))
    # Both images, then the warped target before each further iteration; nothing after the last.
    assert [strides for _, strides in calls] == [(8, 4), (8,), (4,), (4,)]
    for (image, _), shift in zip(calls[1:], expected, strict=False):
        h = geometry.translation(shift[None])
        torch.testing.assert_close(image, geometry.sample(2 * target - 1, h), atol=1e-4, rtol=0)


# --- training


@pytest.mark.parametrize(("name", "dead"), [("rhwf", set()), ("rhwf1", {"encoder.heads.2"})])
def test_gradients_reach_all_but_the_dead_convolution(name, dead):
    torch.manual_seed(0)
    network = build(name, 64, "cpu", preset="tiny")
    network.loss(network(*torch.rand(2, 2, 3, 64, 64)), 8 * torch.randn(2, 4, 2)).backward()
    without = {key.rsplit(".", 1)[0] for key, p in network.named_parameters() if p.grad is None}
    assert without == dead
    still = [
        k for k, p in network.named_parameters() if k.endswith("weight") and p.grad is not None and not p.grad.any()
    ]
    assert not still


def test_loss_starts_anew_at_the_second_scale():
    network = build("rhwf", gamma=0.5, windows=((0, 3), (3,)))
    truth = torch.zeros(1, 4, 2)
    estimates = torch.tensor([4.0, 3.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 4, 2)
    assert float(network.loss(Registration(estimates, (128, 128)), truth)) == pytest.approx(0.5 * 4 + 3 + 1)
