"""Closed forms and properties of the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regbench.metrics import CORE, PairErrors, summarise, verdict
from regbench.metrics.auc import auc, auc3, auc20
from regbench.metrics.corner import failed, identity_mace, mace, median_ace, worse_than_identity


def pairs(error, identity=20.0, ok=True, image=None) -> PairErrors:
    error = np.asarray(error, dtype=float)
    n = len(error)
    image = np.arange(n) if image is None else image
    return PairErrors(error, np.broadcast_to(identity, n), np.broadcast_to(ok, n), image)


ERRORS = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 80)).map(pairs)


def test_failed_pairs_score_identity_in_mace_zero_in_auc_and_count():
    e = pairs([1.0, np.nan, np.inf, 2.0, 25.0], ok=[True, True, True, False, True])
    assert mace(e) == pytest.approx((1 + 20 + 20 + 20 + 25) / 5)
    assert median_ace(e) == 20.0
    assert auc3(e) == pytest.approx(100 * (2 / 3) / 5)
    assert failed(e) == 60.0
    assert worse_than_identity(e) == 20.0
    assert identity_mace(e) == 20.0


def test_doing_nothing_is_not_worse_than_doing_nothing():
    e = pairs([20.0, 20.0])
    assert worse_than_identity(e) == 0.0
    assert verdict(mace(e), identity_mace(e)) == "collapsed"


def test_identity_reference_of_uniform_offsets():
    """Uniform integer offsets of up to 32 px per coordinate: the level at which nothing was learned."""
    drawn = np.random.default_rng(0).integers(-32, 33, (200_000, 4, 2))
    ace = np.linalg.norm(drawn, axis=-1).mean(axis=-1)
    e = pairs(ace, identity=ace)
    assert mace(e) == pytest.approx(24.87, abs=0.02)
    assert auc20(e) == pytest.approx(1.885, abs=0.03)
    assert auc3(e) == 0.0


@pytest.mark.parametrize(("printed_mace", "printed_auc20"), [(0.61, 96.97), (1.23, 93.84), (1.52, 92.40)])
def test_auc_is_the_area_that_papers_print(printed_mace, printed_auc20):
    """Where no error exceeds k, AUC@k is 100 (1 - MACE / k): rows without outliers of CoLReg's Table 2."""
    e = pairs(np.random.default_rng(1).gamma(2.0, printed_mace / 2, 400).clip(max=19))
    assert auc20(e) == pytest.approx(100 * (1 - mace(e) / 20))
    assert printed_auc20 == pytest.approx(100 * (1 - printed_mace / 20), abs=0.03)


@given(ERRORS, st.floats(0.5, 50), st.floats(0.5, 50))
def test_auc_grows_with_k_and_so_does_what_it_leaves_out(e, a, b):
    low, high = sorted((a, b))
    assert auc(e, low) <= auc(e, high) + 1e-9
    assert low * (1 - auc(e, low) / 100) <= high * (1 - auc(e, high) / 100) + 1e-9


@given(ERRORS)
def test_auc_is_bounded_by_mace(e):
    assert 0 <= auc20(e) <= 100
    assert auc20(e) >= 100 * (1 - mace(e) / 20) - 1e-9


def auc_trapezoid(errors: PairErrors, k: float) -> float:
    """AUC@k by the trapezoid rule on the sorted errors, as SuperGlue and LoFTR evaluate it."""
    curve = np.concatenate([[0.0], np.sort(errors.for_auc)])
    recall = np.arange(len(curve)) / len(errors)
    last = int(np.searchsorted(curve, k))
    x = np.append(curve[:last], k)
    y = np.append(recall[:last], recall[last - 1])
    return float(100.0 / k * np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0))


@given(ERRORS, st.floats(0.5, 50))
def test_trapezoid_exceeds_the_area_by_at_most_half_a_pair(e, k):
    excess = auc_trapezoid(e, k) - auc(e, k)
    assert -1e-9 <= excess <= 100 / (2 * len(e)) + 1e-9


def test_trapezoid_by_hand():
    """(0,0) (1,1/2) (3,1) cut at 2: the curve is flat after the last error below it."""
    assert auc_trapezoid(pairs([1.0, 3.0]), 2.0) == pytest.approx(100 * (0.25 + 0.5) / 2)
    assert auc_trapezoid(pairs([5.0]), 3.0) == 0.0


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.0, "aligned"), (8.9, "aligned"), (9.0, "collapsed"), (11.0, "collapsed"), (11.1, "diverged")],
)
def test_verdict(value, word):
    assert verdict(value, 10.0) == word


def test_verdict_of_nothing_finite():
    assert verdict(float("nan"), 10.0) == "diverged"


@pytest.mark.parametrize(
    "fields",
    [
        ([], [], [], []),
        ([1.0], [1.0, 2.0], [True], [0]),
        ([1.0], [np.nan], [True], [0]),
        ([[1.0]], [[1.0]], [[True]], [[0]]),
    ],
)
def test_bad_arrays_are_refused(fields):
    with pytest.raises(ValueError, match=r"pair errors|finite"):
        PairErrors(*map(np.array, fields))


def test_subset_takes_indices_and_masks():
    e = pairs([1.0, 2.0, 3.0])
    assert e.subset([2, 2]).error.tolist() == [3.0, 3.0]
    assert e.subset(e.error < 3).error.tolist() == [1.0, 2.0]


def test_summary_is_complete_and_finite():
    rng = np.random.default_rng(2)
    e = pairs(rng.gamma(2, 3, 60), image=np.arange(60) // 2)
    summary = summarise(e, {**CORE, "odd": lambda errors: float("nan")})
    assert set(summary) == {*CORE, "odd", "identity_mace", "mace_over_identity"}
    assert {name: summary[name]["value"] for name in CORE} == {name: metric(e) for name, metric in CORE.items()}
    assert summary["mace"]["n"] == 60
    low, high = summary["mace"]["ci95"]
    assert low < mace(e) < high
    assert summary["mace_over_identity"]["value"] == pytest.approx(mace(e) / 20)
    assert summary["mace_over_identity"]["ci95"] == pytest.approx([low / 20, high / 20])
    assert summary["odd"] == {"value": None, "ci95": None, "n": 60}


def test_one_image_gives_no_interval():
    assert summarise(pairs([1.0, 2.0], image=[7, 7]))["mace"]["ci95"] is None


def test_core_is_what_the_plugin_registers():
    from regbench.plugins.registry import registry

    mine = {c.name: c.load() for c in registry().all("metric") if c.distribution == "regbench"}
    assert mine == dict(CORE)
