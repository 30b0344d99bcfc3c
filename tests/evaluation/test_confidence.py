"""Confidences of test pairs: stored when asked for, and telling right from wrong."""

import numpy as np
import pytest
import torch

from regbench.data.manifest import test_manifest as make_manifest
from regbench.data.test_pairs import TestPairs
from regbench.errors import UsageError
from regbench.evaluation.confidence import with_confidence
from regbench.evaluation.evaluator import Evaluator
from regbench.results.layout import PAIRS
from regbench.results.pairs import read_pairs
from regbench.runs.execute import execute
from tests.evaluation.test_label_free import GIVEN, Told, plan_of, window_displacement


def test_right_answers_are_trusted_and_wrong_ones_are_not(make_pack, scenes):
    """Also of inverted grey; a pair without an answer has none."""
    a, b, h = scenes
    truth = window_displacement(make_pack(a, b, list(h.numpy())))
    pack = make_pack(a, b, [None] * 10)
    test_pairs = TestPairs(pack, make_manifest(pack, GIVEN), GIVEN)
    ok = torch.arange(10) > 0
    noise = torch.randn(10, 1, 2, generator=torch.Generator().manual_seed(0))
    wrong = truth + 20 * noise / noise.norm(dim=-1, keepdim=True)

    def judged(displacement, batch):
        pairs = Evaluator(test_pairs, batch).pairs(Told(displacement, ok))
        return with_confidence(test_pairs, Told(-displacement, ok), pairs, batch).confidence

    trusted, doubted = judged(truth, 4), judged(wrong, 4)
    assert (trusted.shape, trusted.dtype) == ((10,), np.float32)
    assert trusted[0] == doubted[0] == 0
    assert trusted[1:].min() > 0.5
    assert doubted.max() < 0.5
    assert np.array_equal(judged(truth, 10), trusted)


def test_a_run_stores_them_when_asked(tie_points):
    plain = plan_of(tie_points, "pairs.csv")
    assert "aurc" not in execute(plain).metrics
    assert read_pairs(plain.folder / PAIRS).confidence is None
    asked = plan_of(tie_points, "pairs.csv", confidence=True)
    assert asked.run_id == plain.run_id
    with pytest.raises(UsageError, match="made without --confidence; add --force"):
        execute(asked)
    told = execute(asked, force=True)
    confidence = read_pairs(asked.folder / PAIRS).confidence
    assert confidence.shape == (5,)
    # All do nothing, so all errors are those of identity.
    assert told.metrics["aurc"].value > 0
    assert told.metrics["mace"] == execute(asked).metrics["mace"]
    bare = plan_of(tie_points, "bare.csv", confidence=True)
    assert execute(bare).metrics["trusted"].n == 10
