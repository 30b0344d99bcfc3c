"""Blocks of the adversarial translators against closed forms and loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regbench_translators.blocks.initial import initialise
from regbench_translators.blocks.pool import ImagePool
from regbench_translators.blocks.resnet import ResNetGenerator, check_taps


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("antialias", "upsampled"), [(True, 2), (False, 0)])
def test_generators_of_both_kinds_have_the_published_size(antialias, upsampled):
    with torch.device("meta"):
        network = ResNetGenerator(3, 3, antialias=antialias)
    assert sum(p.numel() for p in network.parameters()) == 11_378_179
    assert sum(isinstance(m, nn.Upsample) for m in network.modules()) == upsampled
    image = torch.empty(1, 3, 128, 128, device="meta")
    assert network(image).shape == image.shape


def test_features_are_those_of_the_published_layers():
    network = ResNetGenerator(3, 3, width=4)
    image = torch.rand(2, 3, 32, 32, generator=seeded())
    found = network.features(image, (0, 4, 8, 12, 16))
    assert [tuple(f.shape[1:]) for f in found] == [(3, 38, 38), (8, 32, 32), (16, 16, 16), (16, 8, 8), (16, 8, 8)]
    assert [network.channels[i] for i in (0, 4, 8, 12, 16)] == [3, 8, 16, 16, 16]
    torch.testing.assert_close(found[0], F.pad(image, (3, 3, 3, 3), mode="reflect"))
    # Layer 4 is a convolution's result, before it is normalised.
    means = found[1].mean(dim=(2, 3))
    assert (means.abs() > 1e-4).any()
    whole = network.encoder(image)
    torch.testing.assert_close(network.features(image, (len(network.encoder) - 1,))[0], whole)


def test_layers_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="0 to 13"):
        check_taps((0, 4, 16), 14)


def test_a_pool_fills_first_and_then_swaps_half_of_the_time():
    pool, generator = ImagePool(50, (1, 1, 1)), seeded()
    kept: list[float] = []
    returned_old = 0
    for step in range(450):
        new = float(step + 1)
        handed = float(pool.swap(torch.full((1, 1, 1, 1), new), step, generator))
        if step < 50:
            assert handed == new
            kept.append(new)
        elif handed != new:
            returned_old += 1
            kept[kept.index(handed)] = new  # it was stored, and is not any more
        assert sorted(pool.images.flatten()[: len(kept)].tolist()) == sorted(kept)
    assert 160 < returned_old < 240  # of 400, with probability one half


def test_a_pool_takes_whole_batches_and_passes_no_gradient():
    pool, generator = ImagePool(3, (1, 2, 2)), seeded()
    for step in range(20):
        fakes = (torch.arange(2.0) + 2 * step).view(2, 1, 1, 1).expand(-1, -1, 2, 2).clone().requires_grad_()
        handed = pool.swap(fakes, step, generator)
        assert not handed.requires_grad
        assert handed.shape == fakes.shape
        if step > 1:  # full: what is handed out is not kept
            assert not set(handed[:, 0, 0, 0].tolist()) & set(pool.images[:, 0, 0, 0].tolist())
    assert ImagePool(0, (1, 2, 2)).swap(fakes, 0, generator).equal(fakes)


def test_published_initial_weights():
    network = nn.Sequential(nn.Conv2d(64, 64, 3), nn.Linear(300, 200))
    fans = {"xavier": (0.02 * math.sqrt(2 / (2 * 64 * 9)), 0.02 * math.sqrt(2 / 500)), "normal": (0.02, 0.02),
            "kaiming": (math.sqrt(2 / (64 * 9)), math.sqrt(2 / 300))}  # fmt: skip
    for how, expected in fans.items():
        torch.manual_seed(0)
        initialise(network, how)
        for layer, deviation in zip(network, expected, strict=True):
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.03)
            assert not layer.bias.any()
