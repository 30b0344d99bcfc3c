"""Intervals cover, tests keep their size and have power, corrections agree with hand computation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regbench.metrics import PairErrors, summarise
from regbench.metrics.corner import mace, median_ace
from regbench.metrics.uncertainty import Bootstrap, compare, holm, sign_flip

IMAGES, EACH = 40, 6
IMAGE = np.repeat(np.arange(IMAGES), EACH)


def clustered(rng, mean=10.0, between=2.0, within=1.0):
    """Errors that are alike within an image."""
    return mean + np.repeat(rng.normal(0, between, IMAGES), EACH) + rng.normal(0, within, IMAGES * EACH)


def errors(values) -> PairErrors:
    return PairErrors(values, np.full(len(values), 20.0), np.ones(len(values), bool), IMAGE)


def test_interval_over_images_covers_and_over_pairs_would_not():
    rng = np.random.default_rng(0)
    images = pairs = 0
    trials = 200
    draws, naive = Bootstrap(IMAGE, 500), Bootstrap(np.arange(len(IMAGE)), 500)
    for _ in range(trials):
        values = clustered(rng)
        low, high = draws.interval(draws.means(values))
        images += low <= 10.0 <= high
        low, high = naive.interval(naive.means(values))
        pairs += low <= 10.0 <= high
    assert 0.88 <= images / trials <= 0.99
    assert pairs / trials < 0.8


def test_mean_and_general_metrics_use_the_same_draws():
    e = errors(clustered(np.random.default_rng(1)))
    draws = Bootstrap(IMAGE, 50)
    for metric in (mace, median_ace):
        assert draws.values(metric, e) == pytest.approx(draws.values(lambda errors, m=metric: m(errors), e))


def test_images_of_unequal_size_and_any_numbers():
    image = np.array([900, 5, 5, 5, -3])
    draws = Bootstrap(image, 100)
    assert draws.images == 3
    assert draws.means(np.ones(5)) == pytest.approx(np.ones(100))


def test_intervals_are_pure():
    e = errors(clustered(np.random.default_rng(2)))
    assert summarise(e) == summarise(e)
    state = np.random.get_state()[1].copy()
    summarise(e)
    assert (np.random.get_state()[1] == state).all()


def test_summary_is_fast():
    rng = np.random.default_rng(3)
    e = PairErrors(rng.gamma(2, 3, 384), rng.gamma(9, 3, 384), np.ones(384, bool), np.arange(384) // 6)
    start = time.process_time()
    summarise(e)
    assert time.process_time() - start < 2.0  # 0.2 s on an idle core; the bound is for busy machines


def test_sign_flip_keeps_its_size_on_clustered_data():
    rng = np.random.default_rng(4)
    differences = np.stack([clustered(rng, mean=0.0) for _ in range(400)], axis=1)
    p = sign_flip(differences, IMAGE, flips=1999)
    assert 0.02 <= (p <= 0.05).mean() <= 0.085
    assert p.min() > 0
    assert p.max() <= 1


def test_sign_flip_has_power():
    rng = np.random.default_rng(5)
    differences = np.stack([clustered(rng, mean=1.5) for _ in range(100)], axis=1)
    assert (sign_flip(differences, IMAGE, flips=1999) < 0.05).mean() > 0.95


def test_sign_flip_counts_ties():
    """Two images of equal difference: both patterns of equal sign are as extreme, half of all."""
    p = sign_flip(np.array([[0.1], [0.1]]), [0, 1], flips=9999)
    assert p[0] == pytest.approx(0.5, abs=0.02)
    assert sign_flip(np.zeros((4, 1)), [0, 1, 2, 3], flips=99)[0] == 1.0


def test_compare_two_methods():
    rng = np.random.default_rng(6)
    hard = clustered(rng)
    better, worse = errors(hard - 1 + rng.normal(0, 0.2, len(hard))), errors(hard)
    difference, (low, high), p = compare(better, worse)
    assert low < difference < high < 0
    assert difference == pytest.approx(-1, abs=0.1)
    assert p < 0.001
    with pytest.raises(ValueError, match="same test pairs"):
        compare(better, better.subset([0, 1]))


def test_paired_ratio():
    values = clustered(np.random.default_rng(7))
    draws = Bootstrap(IMAGE)
    assert draws.ratio(2 * values, values) == pytest.approx((2, 2))
    assert draws.ratio(values, 0 * values) is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=30))
def test_holm_lies_between_nothing_and_bonferroni(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
