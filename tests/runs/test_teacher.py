"""A run that learns from a finished run: what it may name, what its result says, how it is opened again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regbench.api.config import ComponentConfig
from regbench.api.types import PairInfo
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.results.schema import run_id_of
from regbench.runs.execute import execute
from regbench.runs.finished import MissingTeacher, open_run
from regbench.runs.plan import make_plan
from regbench.runs.request import Request

SETS = {"dataset": {"train": 4, "test": 4, "size": 112}, "registrator": {"preset": "tiny"},
        "strategy": {"preset": "tiny"}}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of runs and packs, and in it the finished run ``teacher`` (doing nothing)."""
    folder = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(folder))
        plan = make_plan(Request("identity", budget="smoke", sets={"dataset": SETS["dataset"]}, out=folder))
        execute(plan)
        plan.folder.rename(folder / "teacher")
        yield folder


def request(place: Path, **changes) -> Request:
    asked = Request("mcnet", "sshnet-d", budget="smoke", sets=SETS, out=place, teacher=place / "teacher")
    return replace(asked, **changes)


def test_the_teacher_is_an_ancestor(place):
    plan = make_plan(request(place))
    assert plan.identity.ancestors == [open_run(place / "teacher").run_id]
    assert plan.identity.supervision == "none"
    assert list(plan.context.modules) == ["registrator"]
    assert [a.result for a in plan.context.ancestors] == [open_run(place / "teacher").result]


def test_what_supervised_the_teacher_supervises_the_student(place, tmp_path):
    for file in (place / "teacher").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    record = json.loads((tmp_path / "result.json").read_text())
    record["identity"]["supervision"] = "homography"
    record["run_id"] = run_id_of(record["identity"])
    (tmp_path / "result.json").write_text(json.dumps(record))
    plan = make_plan(request(place, teacher=tmp_path))
    assert plan.identity.supervision == "homography"
    assert not plan.labels  # the student itself still sees none


def test_impossible_teachers_are_refused(place, tmp_path):
    with pytest.raises(UsageError, match="add --teacher RUN"):
        make_plan(request(place, teacher=None))
    with pytest.raises(DataError, match=r"no result\.json"):
        make_plan(request(place, teacher=tmp_path))
    with pytest.raises(UsageError, match="self-supervised learns from no finished run; drop --teacher"):
        make_plan(request(place, strategy="self-supervised", sets={k: v for k, v in SETS.items() if k != "strategy"}))
    small = SETS | {"protocol": {"patch": 32, "rho": 8}}
    with pytest.raises(UsageError, match=r"patches of 64 px, this run has 32 px; use --set protocol\.patch=64"):
        make_plan(request(place, sets=small))


def test_a_finished_student_is_opened_without_its_teacher(place):
    plan = make_plan(request(place))
    result = execute(plan)
    assert result.status == "ok"
    assert result.identity.ancestors == [open_run(place / "teacher").run_id]
    (place / "teacher").rename(place / "gone")
    try:
        again = open_run(plan.folder)
    finally:
        (place / "gone").rename(place / "teacher")
    images = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = (r.eval().register(*images).displacement for r in (again.registrator, plan.deployed))
    assert torch.equal(found, expected)


def test_nobody_trains_what_was_opened_without_its_teacher():
    with pytest.raises(RegbenchError, match="cannot be trained"):
        MissingTeacher(ComponentConfig(), PairInfo())(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
