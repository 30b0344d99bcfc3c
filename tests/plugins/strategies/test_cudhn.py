"""CUDHN's loss against a loop over pixels, its weights, its two stages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench import Registration, geometry
from regbench.api.types import Batch, Pair
from regbench.plugins.registry import registry
from regbench.testing.parts import context, planned_stages
from regbench.testing.training import check_changes, train_stage
from regbench_strategies.cudhn import CUDHN, CUDHNConfig, Masking, triplet

SIZE = (16, 16)


class Grey(nn.Module):
    """Estimates whole-pixel shifts it is told; its feature is the grey image, its mask brighter to the right."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, source, target):
        # Of the reversed pair, the inverse.
        sign = 1.0 if source.mean() < target.mean() else -1.0
        found = torch.zeros(1, len(source), 4, 2)
        found[..., 0] = sign * self.shift
        return Registration(found, SIZE)

    def features(self, image):
        return image.mean(dim=1, keepdim=True)


class Looking(Grey):
    def mask(self, image):
        return (torch.arange(16.0) + 1).expand(len(image), 1, 16, 16) / 32

    def normalised(self, mask):
        return (mask / (0.5 * mask.amax(dim=(1, 2, 3), keepdim=True))).clamp(0, 1)


def batch() -> Batch:
    torch.manual_seed(0)
    made = Batch(2, 0, torch.Generator())
    made.views["pair"] = Pair(torch.rand(2, 3, *SIZE) * 0.5, torch.rand(2, 3, *SIZE))
    return made


def strategy(registrator: nn.Module, **settings) -> CUDHN:
    made = CUDHN(CUDHNConfig(**settings))
    made.registrator = registrator
    return made


@pytest.mark.parametrize("masked", [False, True])
def test_oneline_against_a_loop_over_pixels(masked):
    pair, shift = batch().pair, 3
    found = strategy(Looking(shift), margin=0.2)._loss(batch(), {}, masked=masked)
    s, t = (x.mean(dim=1) for x in (pair.source, pair.target))
    total = weights = 0.0
    for n in range(2):
        for y in range(16):
            for x in range(16 - shift):  # the target is found there: H p = p + (3, 0)
                hinge = max(0.0, float((s[n, y, x] - t[n, y, x + shift]).abs() - (s[n, y, x] - t[n, y, x]).abs()) + 0.2)
                weight = 1.0
                if masked:
                    weight = min((x + 1) / 8, 1.0) * min((x + shift + 1) / 8, 1.0)
                total, weights = total + weight * hinge, weights + weight
    assert float(found["loss"]) == pytest.approx(total / weights, rel=1e-4)


def test_the_hinge_is_of_every_pixel():
    after, before = torch.rand(2, 2, 1, 5, 5).unbind()
    found = triplet(after, before, 0.1)
    assert found.shape == (2, 1, 5, 5)
    for n in range(2):
        for y in range(5):
            for x in range(5):
                expected = max(0.0, float(after[n, 0, y, x]) - float(before[n, 0, y, x]) + 0.1)
                assert float(found[n, 0, y, x]) == pytest.approx(expected, abs=1e-6)


def test_the_identity_costs_the_margin():
    found = strategy(Grey(0), margin=0.7)._loss(batch(), {}, masked=False)
    assert float(found["loss"]) == pytest.approx(0.7, rel=1e-5)
    assert float(found["seen"]) == 1.0


def test_without_masks_both_stages_weigh_alike():
    assert not isinstance(Grey(0), Masking)
    assert isinstance(Looking(0), Masking)
    alike, masked = (strategy(Grey(2))._loss(batch(), {}, masked=m)["loss"] for m in (False, True))
    assert torch.equal(alike, masked)
    assert not torch.equal(alike, strategy(Looking(2))._loss(batch(), {}, masked=True)["loss"])


def test_nothing_in_view_is_finite():
    for masked in (False, True):
        assert float(strategy(Looking(500))._loss(batch(), {}, masked=masked)["loss"]) == 0.0


def test_doubleline_is_the_papers_sum():
    pair = batch().pair
    found = strategy(Grey(2), form="doubleline", contrast=2.0, inverse=0.01)._loss(batch(), {}, masked=False)
    s, t = (x.mean(dim=1) for x in (pair.source, pair.target))
    forth = (s[:, :, :14] - t[:, :, 2:]).abs().mean()
    back = (t[:, :, 2:] - s[:, :, :14]).abs().mean()
    assert float(found["inverse"]) == pytest.approx(0.0, abs=1e-6)
    assert float(found["loss"]) == pytest.approx(float(forth + back - 2 * (s - t).abs().mean()), rel=1e-4)


def test_the_inverse_term_is_the_distance_of_the_product_from_the_unit_matrix():
    made = strategy(Grey(2), form="doubleline")
    made._estimate = lambda source, target: geometry.translation(torch.tensor([[1.0, 2.0]] * 2))
    assert float(made._loss(batch(), {}, masked=False)["inverse"]) == pytest.approx(2.0**2 + 4.0**2)


def test_both_stages_train_features_masks_and_regressor_of_the_papers_network():
    ctx = context(registry().get("registrator", "cudhn-net"), None)
    stages = planned_stages(CUDHN(CUDHNConfig(**CUDHNConfig.presets["tiny"])), ctx)
    assert [s.name for s in stages] == ["cudhn-alike", "cudhn-masked"]
    for stage in stages:
        change = train_stage(stage, ctx, labels=False, steps=1)
        check_changes(change)
        for part in ("feature_net", "mask_net", "regressor"):
            assert any(key.startswith(f"registrator/{part}") for key in change.parameters), (stage.name, part)


def test_published_schedule():
    c = CUDHNConfig()
    assert (c.batch, c.lr, c.weight_decay, c.margin) == (32, 1e-4, 1e-4, 1.0)
    assert c.epoch == 80_000 // c.batch
    assert (c.steps, c.steps + c.mask_steps) == (2 * c.epoch, 30 * c.epoch)
    first, second = planned_stages(CUDHN(c), context(registry().get("registrator", "cudhn-net"), None))
    assert first.objectives[0].lr(2_500) == pytest.approx(8e-5)
    assert second.objectives[0].lr(0) == pytest.approx(6.4e-5)
