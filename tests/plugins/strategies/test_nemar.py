"""NeMAR's two orders and its losses against closed forms; the discriminator's published size."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from regbench import Registration
from regbench.api.types import Batch, Pair
from regbench.errors import UsageError
from regbench.ops import fake_loss, real_loss
from regbench.plugins.registry import registry
from regbench.testing.parts import context, planned_stages
from regbench_strategies.nemar import NeMAR, NeMARConfig

SIZE = (16, 16)


def test_losses_are_cross_entropies():
    logits = torch.tensor([[-2.0, 0.0, 3.0]])
    expected = nn.BCEWithLogitsLoss()
    assert float(real_loss(logits, "ns")) == pytest.approx(float(expected(logits, torch.ones(1, 3))))
    assert float(fake_loss(logits, "ns")) == pytest.approx(float(expected(logits, torch.zeros(1, 3))))


def strategy() -> tuple[NeMAR, Batch]:
    """A registrator that moves by three pixels to the right, a translator that halves, a discriminator in doubt."""
    made = NeMAR(NeMARConfig())
    move = torch.zeros(1, 2, 4, 2)
    move[..., 0] = 3.0
    made.registrator = lambda source, target: Registration(move, SIZE)
    made.translator = SimpleNamespace(translate=lambda source, target, generator: source / 2 + 0.1)
    made.discriminator = lambda *images: torch.zeros(2, 1, 2, 2)
    batch = Batch(2, 0, torch.Generator())
    batch.views["pair"] = Pair(torch.rand(2, 3, *SIZE), torch.rand(2, 3, *SIZE))
    return made, batch


def test_both_orders_use_one_estimate():
    made, batch = strategy()
    shared = made._both_orders(batch)
    moved = batch.pair.source[..., :-3]
    for order in ("tr", "rt"):
        torch.testing.assert_close(shared[order][..., 3:], moved / 2 + 0.1, atol=1e-5, rtol=1e-5)
    # What is not in view is black before translation in one order and after it in the other.
    torch.testing.assert_close(shared["tr"][..., :3], torch.full((2, 3, 16, 3), 0.1), atol=1e-5, rtol=0)
    torch.testing.assert_close(shared["rt"][..., :3], torch.zeros(2, 3, 16, 3), atol=1e-5, rtol=0)


def test_losses_by_hand():
    made, batch = strategy()
    target = batch.pair.target
    shared = {"tr": target + 0.1, "rt": target - 0.2}
    joint = made._joint_loss(batch, shared)
    assert float(joint["loss"]) == pytest.approx(100 * 2 * (0.1 + 0.2) + 2 * math.log(2), rel=1e-4)
    assert float(made._discriminator_loss(batch, shared)["loss"]) == pytest.approx(1.5 * math.log(2), rel=1e-5)


def test_the_discriminator_learns_first_and_alone():
    made = NeMAR(NeMARConfig(**NeMARConfig.presets["tiny"]))
    ctx = context(registry().get("registrator", "mcnet"), registry().get("translator", "mimgcd"))
    (stage,) = planned_stages(made, ctx)
    assert [o.updates for o in stage.objectives] == [("discriminator",), ("translator", "registrator")]


def test_a_patch_that_is_too_small_is_a_usage_error():
    made = NeMAR(NeMARConfig(layers=5))
    with pytest.raises(UsageError, match=r"needs a patch of at least 96 px.*strategy\.layers"):
        made.build(context(registry().get("registrator", "mcnet"), registry().get("translator", "mimgcd")))


def test_published_schedule():
    c = NeMARConfig()
    assert (c.batch, c.lr, c.reconstruction, c.adversarial, c.decay, c.steps) == (1, 2e-4, 100.0, 1.0, 0.5, 200 * 1334)
