"""Adversarial losses against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from regbench.ops import discriminator_loss, fake_loss, generator_loss, real_loss

REAL, FAKE = torch.tensor([0.3, -2.0]), torch.tensor([1.5, -0.2])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mean(function, values) -> float:
    return sum(function(float(v)) for v in values) / len(values)


@pytest.mark.parametrize(
    ("kind", "real", "fake", "generator"),
    [
        ("lsgan", lambda v: (v - 1) ** 2, lambda v: v**2, lambda v: (v - 1) ** 2),
        ("ns", lambda v: -math.log(sigmoid(v)), lambda v: -math.log(1 - sigmoid(v)), lambda v: -math.log(sigmoid(v))),
        ("hinge", lambda v: max(0, 1 - v), lambda v: max(0, 1 + v), lambda v: -v),
    ],
)
def test_losses_equal_their_definitions(kind, real, fake, generator):
    assert float(real_loss(REAL, kind)) == pytest.approx(mean(real, REAL))
    assert float(fake_loss(FAKE, kind)) == pytest.approx(mean(fake, FAKE))
    assert float(discriminator_loss(REAL, FAKE, kind)) == pytest.approx(mean(real, REAL) + mean(fake, FAKE))
    assert float(generator_loss(FAKE, kind)) == pytest.approx(mean(generator, FAKE))
