"""What stages deploy is kept and compared, paired, and a run judged twice says the same."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from regbench.api.stage import Stage
from regbench.evaluation.stage_scores import StageScores
from regbench.results.pairs import Pairs, read_pairs


class Known:
    """Stands in for the evaluator: a module's estimates are off by its ``bias`` px in x."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.truth = generator.normal(size=(40, 4, 2)) * 8
        self.noise = generator.normal(size=(40, 4, 2))
        self.manifest = SimpleNamespace(truth="labels")

    def pairs(self, module: nn.Module) -> Pairs:
        estimate = self.truth + self.noise * module.bias.item()
        return Pairs.of(self.truth, estimate, np.ones(40), np.arange(40))


def off_by(bias: float) -> nn.Module:
    module = nn.Linear(1, 1)
    nn.init.constant_(module.bias, bias)
    return module


def stage(name: str, **deploys: nn.Module) -> Stage:
    return Stage(name, 1, 1, ("pair",), (), {}, deploys=deploys)


def test_differences_are_paired_and_have_their_sign(tmp_path):
    scores = StageScores(tmp_path, Known())
    worse, better = off_by(3.0), off_by(1.0)
    for module, name, end in ((worse, "r_self", "a"), (better, "r", "b"), (better, "r", None)):
        scores(module, name, end)
    found = scores.summary([stage("a", r_self=worse), stage("b", r=better)])
    assert [(e["stage"], e["module"]) for e in found] == [("a", "r_self"), ("b", "r")]
    first, last = found
    assert first["mace"]["value"] == pytest.approx(3 * last["mace"]["value"], rel=1e-4)
    gain = last["minus_previous"]
    assert gain["value"] == pytest.approx(last["mace"]["value"] - first["mace"]["value"], rel=1e-6)
    assert gain["ci95"][0] <= gain["value"] <= gain["ci95"][1] < 0
    assert first["minus_last"]["value"] == -gain["value"]
    assert "minus_previous" not in first
    assert "minus_last" not in last


def test_only_the_end_of_a_stage_is_kept(tmp_path):
    scores, known = StageScores(tmp_path, Known()), Known()
    scores(off_by(2.0), "r")
    assert not (tmp_path / "deploys").exists()
    score = scores(off_by(2.0), "r", "end")
    kept = read_pairs(tmp_path / "deploys" / "end.r.h5")
    assert score["mace"] == pytest.approx(kept.error.mean(), abs=1e-6)
    np.testing.assert_allclose(kept.estimate, known.truth + 2 * known.noise, rtol=1e-5)


def test_stages_that_are_not_done_have_no_entry(tmp_path):
    assert StageScores(tmp_path, Known()).summary([stage("a", r=off_by(1.0))]) == []


def test_what_a_stage_deployed_at_its_end_need_not_be_judged_again(tmp_path):
    scores, known = StageScores(tmp_path, Known()), Known()
    r, other = off_by(2.0), off_by(1.0)
    scores(r, "r", "end")
    kept = scores.kept(stage("end", r=r), r)
    np.testing.assert_array_equal(kept.estimate, known.pairs(r).estimate)
    assert scores.kept(stage("end", r=r), other) is None
    assert scores.kept(stage("later", r=r), r) is None
