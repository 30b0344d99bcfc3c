"""The frozen constants follow from the committed measurements, and hold on a set they were not fitted to."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from regbench.confidence import fitting
from regbench.confidence.calibration import MODEL
from regbench.confidence.features import measure
from regbench.confidence.logistic import Logistic

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("calibrate_confidence", BENCHMARKS / "calibrate_confidence.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibrate_confidence"] = module  # for its dataclass
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def samples(script):
    return script.load(BENCHMARKS / "confidence_samples.jsonl.gz")


def test_the_constants_follow_from_the_measurements(samples):
    """Up to the rounding of another machine."""
    again = fitting.fit(samples)
    assert again.bias == pytest.approx(MODEL.bias, abs=0.02)
    assert again.offsets == pytest.approx(MODEL.offsets, abs=0.02)
    for name, term in again.terms.items():
        assert term[0] == pytest.approx(MODEL.terms.get(name, (0.0,))[0], abs=0.01)
    for sample in samples[::7]:
        if sample["features"]:
            assert again(sample["features"]) == pytest.approx(MODEL(sample["features"]), abs=0.005)


def test_what_is_left_out_is_judged_well(samples):
    """Leave-one-set-out over six sets; ``docs/confidence.md`` has the table."""
    answered = [s for s in samples if s["why"] != "no answer"]
    assert len({s["set"] for s in answered}) == 6
    confidence = fitting.left_out(answered)
    for known in ((), ("reverse",), ("matches", "reverse", "other")):
        p = np.array([confidence(fitting.only(s, known)) for s in answered])
        found = fitting.figures(answered, p)
        assert found["ece"] <= 0.1
        assert found["auroc"] >= 0.9
        assert found["good_trusted"] >= 0.8
        assert found["bad_trusted"] <= 0.02 * found["bad"]


@pytest.mark.slow
def test_the_measurements_follow_from_the_images(script, samples, shared_data):
    """Features and errors of answers without matches, two pairs of each set; they tell right from wrong."""
    stored = {(s["set"], s["pair"], s["method"]): s for s in samples}
    compared, right, trusted = 0, [], []
    for name, pair, case in script.cases(shared_data, range(2)):
        for method, there, back in script.direct(name, pair, case):
            features, why = measure(case.source, case.target, there, reverse=back)
            before = stored[name, pair, method]
            assert why == before["why"]
            assert script.error_of(case, there) == pytest.approx(before["error"], abs=1e-4)
            common = features.keys() & before["features"].keys()
            told = {key: before["features"][key] for key in common}
            assert {key: features[key] for key in common} == pytest.approx(told, abs=0.05)
            compared += 1
            right.append(float(before["error"] < fitting.RIGHT))
            trusted.append(MODEL(features) if features else 0.0)
    assert compared == 2 * 4 * 9
    assert fitting.auroc(np.array(trusted), np.array(right)) > 0.9


def test_figures_of_a_small_case():
    right = np.array([1.0, 1, 0, 0])
    assert fitting.auroc(np.array([0.9, 0.4, 0.4, 0.1]), right) == 0.875
    # Bins [0.1, 0.2): 0.15 told, 0 right; [0.9, 1]: 0.95 told, 1 right of two; 0.55 told, 1 right.
    p = np.array([0.95, 0.55, 0.15, 0.95])
    assert fitting.calibration_error(p, right) == pytest.approx((0.15 + 2 * 0.45 + 0.45) / 4)


def test_a_fit_finds_the_law_samples_were_drawn_from():
    """And leaves out a feature that would speak against the answer."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(3000):
        features = {name: float(rng.standard_normal()) for name in fitting.IMAGES}
        told = 2.0 * features["edge_z"] - 1.0 * features["tiles"] - 0.5
        error = 0.0 if rng.random() < 1 / (1 + np.exp(-told)) else 1.0
        samples.append({"set": "ab"[i % 2], "error": error, "features": features})
    model = fitting.fit(samples)
    assert model.terms["edge_z"][0] == pytest.approx(1.7, abs=0.2)
    assert model.terms["tiles"][0] == 0
    assert max(model.terms[name][0] for name in fitting.IMAGES if name != "edge_z") < 0.15


def test_missing_features_add_nothing():
    model = Logistic(0.5, {"edge_z": (1.0, -1.0, 2.0), "cycle": (2.0, 0.0, 3.0)}, {"reverse": -3.0})
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    assert logit(model({"edge_z": 1.0})) == pytest.approx(1.5)
    assert logit(model({"edge_z": 5.0})) == pytest.approx(2.5)
    assert logit(model({"edge_z": 1.0, "cycle": 1.0})) == pytest.approx(0.5)
