"""Kendall's tau-b against its definition, and what may be said with few methods."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from regbench.metrics.agreement import Agreement, agreement, kendall_tau_b


def by_definition(a, b) -> float:
    """Concordant minus discordant pairs over the geometric mean of the pairs each list does not tie."""
    score, untied_a, untied_b = 0, 0, 0
    for (p, q), (r, s) in itertools.combinations(zip(a, b, strict=True), 2):
        score += (p > r) == (q > s) if p != r and q != s else 0
        score -= (p > r) != (q > s) if p != r and q != s else 0
        untied_a += p != r
        untied_b += q != s
    return score / math.sqrt(untied_a * untied_b) if untied_a and untied_b else 0.0


@pytest.mark.parametrize("seed", range(8))
def test_tau_b_is_its_definition_with_ties(seed):
    stream = np.random.RandomState(seed)
    a, b = stream.randint(0, 5, (2, 7))
    assert kendall_tau_b(a, b) == pytest.approx(by_definition(a, b))


def test_weights_are_copies():
    stream = np.random.RandomState(0)
    a, b = stream.randint(0, 9, (2, 5))
    times = [2, 0, 1, 3, 1]
    assert kendall_tau_b(a, b, times) == pytest.approx(by_definition(np.repeat(a, times), np.repeat(b, times)))


def test_known_values():
    assert kendall_tau_b([1, 2, 3], [10, 20, 30]) == 1
    assert kendall_tau_b([1, 2, 3], [3, 2, 1]) == -1
    assert kendall_tau_b([1, 1, 1], [1, 2, 3]) == 0  # a list that orders nothing agrees with nothing
    assert kendall_tau_b([[1, 2, 3], [3, 2, 1]], [1, 2, 3]).tolist() == [1, -1]


def scores_of(means, noise: float) -> tuple[np.ndarray, np.ndarray]:
    stream = np.random.RandomState(1)
    return np.asarray(means) + noise * stream.standard_normal((60, len(means))), np.repeat(np.arange(20), 3)


def test_a_clear_order_of_five_is_claimed_and_of_four_is_not():
    for methods, claimed in ((5, True), (4, False)):
        order = agreement(*scores_of(np.arange(methods), 0.01), np.arange(methods))
        assert order.tau == 1
        assert order.claimed is claimed
    opposite = agreement(*scores_of(np.arange(6), 0.01), -np.arange(6))
    assert opposite.tau == -1
    assert opposite.claimed


def test_noise_is_not_an_order():
    """Methods our pairs hardly separate: the interval holds zero whatever the tau."""
    order = agreement(*scores_of([0.0, 0.01, 0.02, 0.03, 0.04], 5.0), np.arange(5))
    assert order.interval[0] <= 0 <= order.interval[1]
    assert not order.claimed


def test_a_bound_at_zero_is_no_claim():
    assert not Agreement(0.6, (0.0, 1.0), 9).claimed
    assert not Agreement(0.6, None, 9).claimed
    assert Agreement(0.6, (0.1, 1.0), 9).claimed
