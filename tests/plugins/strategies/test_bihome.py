"""biHomE's loss against naive forms; its loss network: frozen weights, living batch norm, where weights come from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench import Registration, geometry
from regbench.api.types import Batch, Pair
from regbench.errors import DataError
from regbench.plugins.registry import registry
from regbench.testing.parts import context, planned_stages
from regbench.testing.training import check_changes, train_stage
from regbench_strategies.bihome import BiHomE, BiHomEConfig, LossNetwork

SIZE = (16, 16)


class Shift(nn.Module):
    """Estimates as many pixels to the right as told, whatever the direction."""

    def __init__(self, pixels: float) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, source, target):
        found = torch.zeros(1, len(source), 4, 2)
        found[..., 0] = self.pixels
        return Registration(found, SIZE)


def batch() -> Batch:
    made = Batch(2, 0, torch.Generator())
    made.views["pair"] = Pair(torch.rand(2, 3, *SIZE), torch.rand(2, 3, *SIZE))
    return made


def strategy(pixels: float, network: nn.Module | None = None, **settings) -> BiHomE:
    made = BiHomE(BiHomEConfig(weights="random", **settings))
    made.registrator, made.loss_network = Shift(pixels), network or nn.Identity()
    return made


def test_the_loss_against_a_loop_over_pixels():
    given = batch()
    a, b = given.pair.source, given.pair.target
    total = 0.0
    for moved, fixed in ((a, b), (b, a)):
        for n in range(2):
            gains = [
                float((moved[n, :, y, x - 3] - fixed[n, :, y, x]).abs().sum())
                - float((moved[n, :, y, x] - fixed[n, :, y, x]).abs().sum())
                for y in range(16)
                for x in range(3, 16)
            ]
            total += sum(gains) / len(gains)
    # H12 H21 moves by six pixels: one entry of the matrix is 6, squared, for two pairs.
    expected = total + 0.01 * 2 * 36.0
    assert float(strategy(3)._loss(given, {})["loss"]) == pytest.approx(expected, rel=1e-4)


def test_there_is_no_hinge_so_a_true_estimate_is_negative():
    whole = torch.rand(2, 3, 16, 20)
    given = batch()
    given.views["pair"] = Pair(whole[..., :16], whole[..., 2:18])  # target(p) = source(p + (2, 0))
    made = strategy(0)
    made._estimate = lambda source, target: geometry.translation(
        torch.tensor([[-2.0 if source is given.pair.source else 2.0, 0.0]] * 2)
    )
    free = made._loss(given, {})
    assert float(free["inverse"]) == pytest.approx(0.0, abs=1e-6)
    assert float(free["loss"]) < 0
    hinged = strategy(0, margin=0.0)
    hinged._estimate = made._estimate
    assert 0 <= float(hinged._loss(given, {})["loss"]) < 0.5


def test_the_identity_costs_nothing():
    assert float(strategy(0)._loss(batch(), {})["loss"]) == pytest.approx(0.0, abs=1e-5)


def test_the_loss_is_a_sum_over_the_batch():
    given = batch()
    doubled = Batch(4, 0, torch.Generator())
    doubled.views["pair"] = Pair(given.pair.source.repeat(2, 1, 1, 1), given.pair.target.repeat(2, 1, 1, 1))
    once, twice = (float(strategy(2)._loss(b, {})["loss"]) for b in (given, doubled))
    assert twice == pytest.approx(2 * once, rel=1e-5)


def test_nothing_in_view_is_finite():
    assert strategy(1000)._loss(batch(), {})["loss"].isfinite()


def test_the_loss_network_is_resnet34_up_to_its_first_stage():
    network = LossNetwork().eval()
    # Stem 3 x 64 x 49 + 2 x 64, six 3x3 convolutions of 64 channels with batch norm.
    assert sum(p.numel() for p in network.parameters()) == 9_408 + 128 + 6 * (36_864 + 128)
    assert not any(p.requires_grad for p in network.parameters())
    assert network(torch.rand(1, 3, 128, 128)).shape == (1, 64, 32, 32)


def planned(**settings):
    ctx = context(registry().get("registrator", "mcnet"), None)
    made = BiHomE(BiHomEConfig(**(dict(BiHomEConfig.presets["tiny"]) | settings)))
    return made, ctx, planned_stages(made, ctx)[0]


def test_frozen_parameters_and_living_batch_norm():
    _, ctx, stage = planned()
    change = train_stage(stage, ctx, labels=False, steps=1)
    check_changes(change)
    assert not any(key.startswith("loss_network") for key in change.parameters)
    assert "loss_network/trunk.bn1.running_mean" in change.buffers


def test_weights_are_read_when_training_begins_and_not_before(tmp_path):
    path = tmp_path / "resnet34.pth"
    torch.manual_seed(5)
    published = {k.removeprefix("trunk."): v for k, v in LossNetwork().state_dict().items()}
    torch.save(published, path)
    made, _, stage = planned(weights=str(path))
    before = made.loss_network.trunk.conv1.weight.clone()
    stage.begin()
    assert not torch.equal(before, published["conv1.weight"])
    assert torch.equal(made.loss_network.trunk.conv1.weight, published["conv1.weight"])
    _, _, stage = planned(weights=str(tmp_path / "absent.pth"))  # planning needs no file
    with pytest.raises(DataError, match=r"absent\.pth: no such file"):
        stage.begin()


def test_random_features_are_those_of_the_seed():
    first, second = planned()[0], planned()[0]
    assert torch.equal(first.loss_network.trunk.conv1.weight, second.loss_network.trunk.conv1.weight)
    assert planned()[2].begin is None


def test_published_schedule():
    c = BiHomEConfig()
    assert (c.steps, c.decay_steps, c.batch, c.lr, c.clip, c.margin) == (90_000, 30_000, 64, 5e-3, None, None)
    assert (c.inverse, c.weights) == (0.01, "imagenet")
