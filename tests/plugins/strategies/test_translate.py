"""Translate, then register: somebody has to learn something."""

import pytest

from regbench.errors import UsageError
from regbench.runs.plan import make_plan
from regbench.runs.request import Request
from regbench.settings import parse_sets

SETS = parse_sets(["dataset.train=4", "dataset.test=4", "dataset.size=96"])


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "data"))

    def request(registrator):
        return Request(registrator, "translate", "copy-target", budget="smoke", sets=SETS, out=tmp_path / "runs")

    return request


def test_nothing_to_learn_is_told_with_what_to_do(request_of):
    with pytest.raises(UsageError, match="neither the translator nor the registrator learns anything; name a"):
        make_plan(request_of("sift"))


def test_a_registrator_learns_behind_a_translator_that_does_not(request_of):
    assert [stage.name for stage in make_plan(request_of("mcnet")).stages] == ["registrator"]
