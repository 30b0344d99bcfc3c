"""Failures found by confidence: closed forms, and what no confidence can change."""

from __future__ import annotations

import numpy as np
import pytest

from regbench.metrics import PairErrors, summarise
from regbench.metrics.corner import mace
from regbench.metrics.selective import at_coverage, aurc, excess_aurc, risks, trusted, trusted_mace


def pairs(error, confidence, ok=True, image=None):
    n = len(error)
    image = np.arange(n) if image is None else image
    return PairErrors(np.array(error, float), np.full(n, 20.0), np.broadcast_to(ok, n), image, np.array(confidence))


def test_curve_of_four_pairs():
    e = pairs([4.0, 1.0, 3.0, 8.0], [0.7, 0.9, 0.8, 0.1])
    assert risks(e).tolist() == [1.0, 2.0, 8 / 3, 4.0]
    assert aurc(e) == pytest.approx((1 + 2 + 8 / 3 + 4) / 4)
    assert excess_aurc(e) == pytest.approx(0)
    assert at_coverage(e, 0.5) == 2.0
    assert at_coverage(e, 1.0) == mace(e) == 4.0
    assert trusted(e) == 75.0
    assert trusted_mace(e) == pytest.approx(8 / 3)


def test_a_constant_confidence_tells_nothing():
    """Whatever the order of the pairs: AURC is MACE, at every coverage."""
    e = pairs([1.0, 5.0, 9.0], [0.3, 0.3, 0.3])
    assert risks(e).tolist() == [5.0, 5.0, 5.0]
    assert (aurc(e), excess_aurc(e)) == (5.0, pytest.approx(5 - (1 + 3 + 5) / 3))
    assert trusted(e) == 0.0
    assert np.isnan(trusted_mace(e))


def test_the_order_of_pairs_does_not_matter():
    rng = np.random.default_rng(0)
    error, confidence = rng.gamma(2, 4, 60), rng.integers(0, 6, 60) / 5
    e, order = pairs(error, confidence), rng.permutation(60)
    assert aurc(e.subset(order)) == pytest.approx(aurc(e))


def test_the_reverse_of_the_best_order_is_worse_than_none():
    error = np.arange(1.0, 11)
    best, none, worst = (aurc(pairs(error, c)) for c in (1 - error / 10, np.full(10, 0.5), error / 10))
    assert best < none < worst


def test_failed_pairs_score_as_in_mace():
    e = pairs([np.nan, 1.0], [0.0, 0.9], ok=[False, True])
    assert risks(e).tolist() == [1.0, 10.5]


def test_a_summary_has_them_where_pairs_have_confidences_alone():
    rng = np.random.default_rng(1)
    error = rng.gamma(2, 4, 120)
    image = np.arange(120) // 2
    told = summarise(pairs(error, 1 / (1 + error), image=image))
    assert told["excess_aurc"]["value"] == pytest.approx(0, abs=1e-9)
    low, high = told["aurc"]["ci95"]
    assert low < told["aurc"]["value"] < high
    assert told["aurc"]["value"] < told["mace"]["value"]
    without = summarise(PairErrors(error, np.full(120, 20.0), np.ones(120), image))
    assert set(told) - set(without) == {"aurc", "excess_aurc", "trusted"}


@pytest.mark.parametrize("confidence", [[0.5], [0.5, np.nan]])
def test_confidences_are_one_number_for_each_pair(confidence):
    with pytest.raises(ValueError, match="confidences must be finite"):
        pairs([1.0, 2.0], confidence)
