"""The DHN of later papers: its size and its input."""

import pytest
import torch

from regbench import PairInfo
from regbench_registrators.dhn_resnet import DHNResNet, DHNResNetConfig


def build(patch=128, device="meta", preset=None, **settings):
    config = DHNResNetConfig(**(DHNResNetConfig.presets[preset] if preset else {}) | settings)
    with torch.device(device):
        return DHNResNet(config, PairInfo(patch=patch))


@pytest.mark.parametrize(("colour", "count"), [("rgb", 21_298_184), ("grey", 21_285_640)])
def test_network_is_a_resnet34_with_eight_outputs(colour, count):
    network = build(colour=colour)
    assert sum(p.numel() for p in network.parameters()) == count
    assert network.network.fc.weight.shape == (8, 512)


@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (128, "tiny"), (40, "smoke")])
def test_one_estimate_of_any_patch(patch, preset):
    torch.manual_seed(0)
    network = build(patch, "cpu", preset).eval()
    source, target = torch.rand(2, 3, 3, patch, patch)
    found = network(source, target)
    assert found.displacements.shape == (1, 3, 4, 2)
    assert found.size == (patch, patch)
    torch.testing.assert_close(
        network(source[:1], target[:1]).displacement, found.displacement[:1], rtol=1e-4, atol=1e-5
    )


def test_network_sees_both_images_between_minus_one_and_one():
    source, target = torch.rand(2, 2, 3, 64, 64)
    for colour in ("rgb", "grey"):
        network = build(64, "cpu", "tiny", colour=colour).eval()
        seen = []
        network.network.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        network(source, target)
        pair = [source, target] if colour == "rgb" else [i.mean(1, keepdim=True) for i in (source, target)]
        torch.testing.assert_close(seen[0], 2 * torch.cat(pair, 1) - 1)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = build(64, "cpu", "tiny")
    network.loss(network(*torch.rand(2, 4, 3, 64, 64)), 8 * torch.randn(4, 4, 2)).backward()
    assert not [
        k for k, p in network.named_parameters() if p.grad is None or (k.endswith("weight") and not p.grad.any())
    ]


def test_pretrained_weights_are_of_one_size():
    with pytest.raises(ValueError, match="leave depths and widths at their defaults"):
        build(preset="quick", pretrained=True)
