"""Nothing is trained on test images: a pack that has some in train is refused by training, not by evaluation alone."""

import pytest

from regbench.data.packs.prepare import prepare
from regbench.errors import DataError
from regbench.runs.plan import Request, make_plan
from tests.data.duplicates.test_alike import Large, scene


@pytest.fixture
def leaky(tmp_path):
    pairs = [(scene((i, 0)), scene((i, 1))) for i in range(3)]
    sets = {"train": {"1": pairs[0], "2": pairs[1]}, "test": {"3": pairs[2], "copy": pairs[0]}}
    return str(prepare(Large(sets), "mine", "1", tmp_path / "p.h5").path)


def test_training_is_refused(leaky, tmp_path):
    request = Request("dhn", strategy="supervised", dataset=leaky, budget="smoke", out=tmp_path)
    with pytest.raises(DataError, match="optical of train pair '1' and optical of test pair 'copy' are the same image"):
        make_plan(request)


def test_what_needs_no_training_is_judged(leaky, tmp_path):
    assert make_plan(Request("identity", dataset=leaky, budget="smoke", out=tmp_path)).pack.seen
