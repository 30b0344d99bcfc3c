"""The sequence loss against its definition."""

from __future__ import annotations

import pytest
import torch

from regbench.ops import decayed_sum, sequence_loss

TRUTH = torch.zeros(2, 4, 2)
ESTIMATES = torch.tensor([4.0, 3.0, 2.0, 1.0]).reshape(4, 1, 1, 1).expand(4, 2, 4, 2)


def test_exponent_counts_the_iterations_that_are_left():
    assert float(sequence_loss(ESTIMATES, TRUTH, gamma=0.5)) == pytest.approx(4 / 8 + 3 / 4 + 2 / 2 + 1)
    assert float(sequence_loss(ESTIMATES, TRUTH)) == pytest.approx(4 * 0.85**3 + 3 * 0.85**2 + 2 * 0.85 + 1)


def test_exponent_starts_anew_at_each_scale():
    loss = sequence_loss(ESTIMATES, TRUTH, gamma=0.5, iterations=(3, 1))
    assert float(loss) == pytest.approx(4 / 4 + 3 / 2 + 2 + 1)


def test_samples_are_weighted():
    estimates = torch.tensor([[2.0, 6.0]]).reshape(1, 2, 1, 1).expand(1, 2, 4, 2)
    assert float(sequence_loss(estimates, TRUTH, torch.tensor([1.5, 0.5]))) == pytest.approx((3 + 3) / 2)


def test_decayed_sum_of_given_errors():
    assert float(decayed_sum(torch.tensor([4.0, 2.0]), gamma=0.5)) == pytest.approx(4.0)
