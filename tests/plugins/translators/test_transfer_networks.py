"""SSHNet's two transfer networks: their published sizes, what they keep in range, what they refuse."""

from __future__ import annotations

import pytest
import torch

from regbench import PairInfo
from regbench_translators.swin_unet import SwinUNet, SwinUNetConfig
from regbench_translators.unet import UNet, UNetConfig

INFO = PairInfo(64, 16, 3, 1, "optical", "sar")
KINDS = {"unet": (UNet, UNetConfig), "swin-unet": (SwinUNet, SwinUNetConfig)}


def tiny(kind: str, **settings):
    network, config = KINDS[kind]
    torch.manual_seed(0)
    return network(config(**(dict(config.presets["tiny"]) | settings)), INFO)


@pytest.mark.parametrize(("kind", "parameters"), [("unet", 1_942_611), ("swin-unet", 7_574_363)])
def test_published_size(kind, parameters):
    network, config = KINDS[kind]
    assert sum(p.numel() for p in network(config(), PairInfo()).parameters()) == parameters


def test_swin_levels_are_those_published():
    levels = SwinUNet(SwinUNetConfig(), PairInfo()).network.encoder
    shape = [(b.dim, b.input_resolution[0], b.attn.num_heads, b.window_size[0], b.shift_size[0]) for v in levels
             for b in v]  # fmt: skip
    sizes = [(16, 128, 2), (32, 64, 4), (64, 32, 8), (128, 16, 16)]
    expected = [(*size, 8, shift) for size in sizes for shift in (0, 4)]
    assert shape == expected + [(256, 8, 32, 8, 0)] * 6  # the window covers the last map: nothing is shifted


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_reaches_the_output(kind):
    network = tiny(kind)
    network.translate(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_not_looked_at(kind):
    network, source = tiny(kind).eval(), torch.rand(1, 3, 64, 64)
    first, second = (network.translate(source, torch.rand(1, 3, 64, 64)) for _ in "ab")
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_output_is_clamped_and_its_gradient_is_not(kind):
    source = torch.rand(1, 3, 64, 64)
    linear, clamped = tiny(kind, output="linear"), tiny(kind)
    for network in (linear, clamped):
        network.network.head.bias.data[:] = torch.tensor([-9.0, 0.5, 9.0])  # below, within, above the range
    raw, image = (network.translate(source, source) for network in (linear, clamped))
    assert raw.min() < 0
    assert raw.max() > 1
    assert torch.equal(image, raw.clamp(0, 1))
    weight = torch.rand_like(raw)
    for network, output in ((linear, raw), (clamped, image)):
        (weight * output).sum().backward()
        torch.testing.assert_close(network.network.head.bias.grad, weight.sum((0, 2, 3)))


def test_swin_computes_the_same_in_training_and_evaluation():
    network, source = tiny("swin-unet"), torch.rand(2, 3, 64, 64)
    assert torch.equal(network.train().translate(source, source), network.eval().translate(source, source))


@pytest.mark.parametrize(("kind", "settings", "unit"), [("unet", {"widths": (4, 4, 4)}, 4), ("swin-unet", {}, 2)])
def test_a_patch_that_does_not_halve_is_refused(kind, settings, unit):
    network, config = KINDS[kind]
    with pytest.raises(ValueError, match=f"multiple of {unit} px, got 63"):
        network(config(**(dict(config.presets["tiny"]) | settings)), PairInfo(63, 8))


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="no multiple of head_dim"):
        SwinUNetConfig(dim=12)
