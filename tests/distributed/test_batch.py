"""Batches in one process; what several processes make of them is tested in tests/distributed."""

import torch

from regbench.distributed.batch import weighted_mean


def test_a_weighted_mean_of_nothing_is_zero():
    assert float(weighted_mean(torch.ones(3), torch.zeros(3))) == 0.0


def test_a_weighted_mean_is_over_all_elements():
    values, weight = torch.tensor([[1.0, 2.0], [10.0, 50.0]]), torch.tensor([[1.0, 1.0], [3.0, 0.0]])
    assert torch.isclose(weighted_mean(values, weight), torch.tensor(33 / 5))
