"""ResNet-34 at its published size, and parts of it."""

from __future__ import annotations

import torch

from regbench.ops import resnet34


def test_published_size():
    with torch.device("meta"):
        network = resnet34(outputs=1000)
    assert sum(p.numel() for p in network.parameters()) == 21_797_672


def test_channels_and_outputs():
    network = resnet34(inputs=2, outputs=8, depths=(1, 1, 1, 1), widths=(8, 8, 16, 16))
    assert network(torch.rand(3, 2, 64, 64)).shape == (3, 8)
    assert {key.split(".")[0] for key in network.state_dict()} == {
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc",
    }  # fmt: skip


def test_first_stages_alone():
    network = resnet34(depths=(1, 1), widths=(8, 16))
    assert not hasattr(network, "layer3")
    stem = network.conv1(torch.rand(2, 3, 64, 64))
    assert network.layer2(network.layer1(stem)).shape == (2, 16, 16, 16)


def test_residual_branches_do_not_start_at_zero():
    network = resnet34(depths=(2,), widths=(8,))
    assert torch.equal(network.layer1[0].bn2.weight, torch.ones(8))
