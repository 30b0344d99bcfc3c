"""Results of metric version 1 are computed again from their pairs, or left and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.leaderboard import command
from regbench.errors import RegbenchError
from regbench.metrics import METRIC_VERSION
from regbench.report import leaderboard
from regbench.report.upgrade import upgrade
from regbench.results import load_result, write_json
from regbench.results.schema import run_id_of
from tests.report.made_up import put_back


def as_version_1(path: Path) -> None:
    """What version 1 wrote: the same values, and narrower intervals, in `metrics` and in `training`."""
    record = json.loads(path.read_text())
    record["identity"]["metric_version"] = 1
    for entry in record["metrics"].values():
        entry["ci95"] = [entry["value"] - 0.1, entry["value"] + 0.1]
    record["training"] = {**record["training"], "deploys": [{"mace": {"value": 3.0, "ci95": [2.9, 3.1], "n": 96}}]}
    write_json(path, record)


@pytest.fixture
def old(root) -> Path:
    """The board ``demo`` as version 1 left it."""
    for path in (root / "results" / "demo").glob("*.json"):
        if load_result(path).identity.metric_version == METRIC_VERSION:
            as_version_1(path)
    return root


def test_a_metric_version_is_not_part_of_the_run_id(template):
    for path in (template / "results" / "demo").glob("*.json"):
        identity = json.loads(path.read_text())["identity"]
        assert {run_id_of({**identity, "metric_version": v}) for v in (1, 2, 3)} == {path.stem}


def test_upgrade_gives_what_a_run_of_today_gives(old, template):
    before = {path.name: path.read_bytes() for path in (template / "results" / "demo").glob("*.json")}
    assert "run leaderboard upgrade" in leaderboard.render(old, "demo")
    written, left = upgrade(old)
    assert (len(written), left) == (12, [])
    for path in (old / "results" / "demo").glob("*.json"):
        now, then = json.loads(path.read_text()), json.loads(before[path.name])
        assert now["metrics"] == then["metrics"]
        assert now["identity"] == then["identity"]
    leaderboard.build(old)
    assert leaderboard.check(old) == []
    assert leaderboard.render(old, "demo") == leaderboard.render(template, "demo")


def test_a_second_upgrade_changes_nothing(old):
    upgrade(old)
    content = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert upgrade(old) == ([], [])
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == content


def test_intervals_that_pairs_do_not_determine_are_removed(old):
    upgrade(old)
    records = [json.loads(path.read_text()) for path in (old / "results" / "demo").glob("*.json")]
    stages = [r["training"]["deploys"][0]["mace"] for r in records if "deploys" in r.get("training", {})]
    assert stages
    assert all(stage == {"value": 3.0, "ci95": None, "n": 96} for stage in stages)


@pytest.mark.parametrize("edit", ["value", "verdict"])
def test_pairs_that_do_not_give_the_metrics_are_refused(old, runs, edit):
    path = old / "results" / "demo" / f"{runs[2].name}.json"
    record = json.loads(path.read_text())
    if edit == "value":
        record["metrics"]["mace"]["value"] -= 0.01
    else:
        record["verdict"] = "diverged"
    write_json(path, record)
    content = path.read_bytes()
    written, (line,) = upgrade(old)
    assert path not in written
    assert path.read_bytes() == content
    assert line.startswith(f"demo: run {path.stem}: its ")
    result = CliRunner().invoke(command, ["upgrade", "--root", str(old)])
    assert isinstance(result.exception, RegbenchError)
    assert f"left {line}" in result.output


def test_frames_that_counted_as_images_are_left(old):
    """The pairs of DIML do not tell which frames share a scene: values were right, intervals were not."""
    path = next(p for p in sorted((old / "results" / "demo").glob("*.json")) if load_result(p).status == "ok")
    record = json.loads(path.read_text())
    record["identity"]["test_dataset"] = {"name": "diml", "manifest_sha256": "d" * 64}
    moved = put_back(path, record)
    written, (line,) = upgrade(old)
    assert moved not in written
    assert "do not tell which frames share a scene" in line
    (row,) = [text for text in leaderboard.render(old, "demo").splitlines() if record["run_id"] in text]
    assert "took frames of diml for independent images; evaluate it again" in row


def test_command_line(old):
    run = CliRunner().invoke
    assert run(command, ["upgrade", "--root", str(old), "demo"]).output.count("upgraded ") == 12
    assert run(command, ["upgrade", "--root", str(old)]).output == "up to date\n"


def test_committed_results_have_the_run_ids_of_version_1():
    """The ids that version 1 gave, which were hashed with ``metric_version: 1``."""
    paths = sorted((Path(__file__).parents[2] / "leaderboards" / "results").glob("*/*.json"))
    assert len(paths) > 100
    for path in paths:
        assert run_id_of(json.loads(path.read_text())["identity"]) == path.stem
    assert np.all([load_result(path, committed=True).run_id == path.stem for path in paths[:5]])
