"""Judging really unaligned pairs: with labels, with tie points, and with nothing."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from regbench import geometry
from regbench.api.registrator import Registrator
from regbench.api.types import PairInfo, Registration
from regbench.cli.consistency import command as consistency_command
from regbench.data.manifest import Manifest
from regbench.data.manifest import test_manifest as make_manifest
from regbench.data.packs.prepare import ensure
from regbench.data.pairs import given_pairs
from regbench.data.protocol import Protocol
from regbench.data.test_pairs import TestPairs
from regbench.errors import DataError, UsageError
from regbench.evaluation.evaluator import Evaluator, tie_point_errors
from regbench.evaluation.label_free import assess
from regbench.report.leaderboard import add
from regbench.results.pairs import read_pairs
from regbench.runs.execute import execute
from regbench.runs.plan import make_plan
from regbench.runs.request import Request

GIVEN = Protocol(patch=64, rho=16, pairing="given")


class Told(Registrator):
    """Answers with the homographies it was given, in the order it is asked; backwards with their inverses."""

    def __init__(self, displacement, ok=None):
        super().__init__(Registrator.Config(), PairInfo(64, 16))
        self.answers, self.asked, self.ok = displacement, 0, ok

    def forward(self, source, target):
        n = len(source)
        which = torch.arange(self.asked, self.asked + n) % len(self.answers)
        self.asked += n
        ok = None if self.ok is None else self.ok[which]
        return Registration(self.answers[which][None], tuple(source.shape[-2:]), ok)


def window_displacement(pack_with_labels):
    return given_pairs(pack_with_labels, "test", GIVEN, labelled=True).displacement


def test_label_free_metrics_tell_right_from_wrong(make_pack, scenes):
    a, b, h = scenes
    truth = window_displacement(make_pack(a, b, list(h.numpy())))
    pack = make_pack(a, b, [None] * 10)
    manifest = make_manifest(pack, GIVEN)
    assert (manifest.truth, len(manifest.draws)) == ("none", 10)
    test_pairs = TestPairs(pack, manifest, GIVEN)
    evaluator = Evaluator(test_pairs, batch=4)

    def judged(displacement, ok=None):
        return assess(test_pairs, (told := Told(displacement, ok)), evaluator.pairs(told), batch=4)

    right, wrong, still = judged(truth), judged(-truth), judged(torch.zeros_like(truth))
    assert right["edge_agreement"]["value"] > 0.9
    assert right["edge_gain"]["value"] > 0.2
    assert wrong["edge_gain"]["value"] < 0
    assert right["edge_gain"]["ci95"] is None  # of ten images
    assert still["edge_gain"]["value"] == pytest.approx(0, abs=1e-6)
    assert still["cycle_error"]["value"] == pytest.approx(0, abs=1e-4)
    assert right["cycle_error"]["value"] > 3  # the same answer both ways is no way back
    assert still["overlap"]["value"] == pytest.approx((56 / 64) ** 2, abs=1e-3)
    failed = torch.ones(10, dtype=torch.bool)
    failed[:5] = False
    half = judged(truth, failed)
    assert half["failed"]["value"] == 50
    assert half["cycle_error"]["n"] == 5
    assert 0 < half["edge_gain"]["value"] < right["edge_gain"]["value"]


def test_tie_point_errors_are_distances():
    estimate = np.zeros((2, 4, 2), np.float32)
    estimate[1] = (3, 4)
    points = torch.full((2, 3, 4), torch.nan)
    points[0, 0] = torch.tensor([10.0, 10, 13, 14])
    points[1, :2] = torch.tensor([[10.0, 10, 13, 14], [20, 5, 23, 5]])
    error, identity = tie_point_errors(estimate, points, 64)
    np.testing.assert_allclose(error, [5, 2], atol=1e-5)
    np.testing.assert_allclose(identity, [5, 4], atol=1e-5)


def plan_of(folder, csv, **more):
    dataset = {"pairs": csv, "aligned": False, "height": 96, "width": 96}
    sets = {"dataset": dataset, "protocol": {"patch": 64, "rho": 16}}
    return make_plan(Request("identity", dataset="folder", root=folder, sets=sets, out=folder / "runs", **more))


@pytest.mark.parametrize("source", ["A", "B"])
def test_tie_points_of_a_csv(tie_points, scenes, source):
    sets = {"pairs": "pairs.csv", "aligned": False, "height": 96, "width": 96}
    pack = ensure("folder", root=tie_points, settings=sets)
    protocol = GIVEN.model_copy(update={"source": source})
    manifest = make_manifest(pack, protocol)
    assert isinstance(manifest, Manifest)
    assert manifest.truth == "tie points"
    assert manifest.draws.index.tolist() == [1, 3, 5, 7, 9]
    assert manifest.points.isfinite().all(-1).sum(1).tolist() == [3] * 5
    h = scenes[2][1::2] if source == "A" else geometry.invert(scenes[2][1::2])
    origin = geometry.translation(torch.tensor([16.0, 16.0], dtype=torch.float64))
    local = geometry.compose(geometry.invert(origin), geometry.compose(h, origin))
    answer = geometry.displacement_from_homography(local, (64, 64)).float()
    pairs = Evaluator(TestPairs(pack, manifest, protocol)).pairs(Told(answer))
    assert pairs.error.max() < 0.01
    assert pairs.identity_error.min() > 0.3


def test_results_are_marked(tie_points, tmp_path):
    """The plan finds out by itself that the pairs are taken as given."""
    plan = plan_of(tie_points, "pairs.csv")
    assert plan.protocol.pairing == "given"
    result = execute(plan)
    assert (result.truth, result.verdict) == ("tie points", "collapsed")
    assert result.metrics["mace"].value == result.metrics["identity_mace"].value > 0
    bare = plan_of(tie_points, "bare.csv")
    result = execute(bare)
    assert (result.truth, result.verdict) == ("none", "unjudged")
    assert "mace" not in result.metrics
    assert result.metrics["edge_gain"].value == pytest.approx(0, abs=1e-6)
    assert np.isnan(read_pairs(bare.folder / "pairs.h5").displacement).all()
    told = json.loads((bare.folder / "result.json").read_text())
    assert told["truth"] == "none"
    with pytest.raises(UsageError, match="no truth; a board ranks errors"):
        add(tmp_path / "boards", "mine", [bare.folder])
    other = plan_of(tie_points, "bare.csv", seed=1)
    execute(other)
    called = CliRunner().invoke(consistency_command, [str(bare.folder), str(other.folder), "--json"])
    found = json.loads(called.output)
    assert (found[0]["median"], found[0]["within_3"], found[0]["pairs"], found[0]["truth"]) == (0, 100, 10, "none")
    called = CliRunner().invoke(consistency_command, [str(bare.folder), str(plan.folder)])
    assert isinstance(called.exception, UsageError)
    assert "different test pairs" in str(called.exception)


@pytest.mark.parametrize(("text", "message"), [
    ("xa,ya,xb\n1,2,3\n", "needs the columns xa, ya, xb and yb"),
    ("xa,ya,xb,yb\n1,2,3\n", "line 2 has 3 fields, but the header has 4"),
    ("xa,ya,xb,yb\n1,2,3,4\n1,2,x,4\n", "line 3: xb is .x., not a number"),
    ("xa,ya,xb,yb\n", "lists no tie points"),
])  # fmt: skip
def test_broken_tie_points(tie_points, text, message):
    (tie_points / "p3.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        plan_of(tie_points, "pairs.csv")
    assert "p3.csv" in str(caught.value)
