"""How far an ablation is, from its files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regbench.ablation.cells import Cell
from regbench.ablation.launch import finish_cell, start_cell
from regbench.ablation.recipe import RecipeRow
from regbench.ablation.status import as_json, status_of, summary
from regbench.results.layout import CELL_LOG, CELL_STDOUT, CONFIG, LOG
from tests.report.made_up import identity_of, pairs_of, save_run

ROW = RecipeRow(name="cell", registrator="mcnet", strategy="supervised")
CELL = Cell("cell", ROW, "synthetic", ("run", "--seed", "0"))
STAGES = [{"name": "translate", "steps": 100}, {"name": "r-0", "steps": 300}]
HERE = {"pid": os.getpid(), "host": socket.gethostname()}


def one(folder: Path, cell: Cell = CELL, expected: float | None = 1000.0):
    (status,) = status_of([cell], folder, {} if expected is None else {cell.name: expected})
    return status


def began(folder: Path, *entries: dict, tail: str = "", **record) -> None:
    """A cell that is running, whose run has logged these entries."""
    CELL.record(folder, "running", since=round(time.time()) - 60, **(HERE | record))
    run = folder / CELL.name / "run-a"
    run.mkdir(exist_ok=True)
    (run / CONFIG).write_text(json.dumps({"run_id": "0" * 12, "stages": STAGES}))
    os.utime(run / CONFIG, (time.time() + 1, time.time() + 1))
    (run / LOG).write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)


def finished(folder: Path) -> None:
    CELL.record(folder, "running", **HERE)
    result = save_run(folder / CELL.name, identity_of("mcnet", strategy={
        "name": "supervised", "version": "1", "distribution": "d"
    }), pairs_of(0.5, 1))  # fmt: skip
    (folder / CELL.name / CELL_STDOUT).write_text(json.dumps({"run_id": result.run_id}))
    finish_cell(CELL, folder, 0)


def test_a_cell_nobody_began_waits(tmp_path):
    assert (one(tmp_path).state, one(tmp_path).seconds_left) == ("waiting", 1000.0)
    assert one(tmp_path, expected=None).seconds_left is None


def test_judging_alone_takes_no_training(tmp_path):
    judging = Cell("judged", ROW, "synthetic", ("evaluate", "--seed", "0"))
    assert one(tmp_path, judging, expected=None).seconds_left == 0


def test_a_finished_cell_has_its_score_and_its_seconds(tmp_path):
    finished(tmp_path)
    status = one(tmp_path)
    assert (status.state, status.seconds, status.seconds_left) == ("done", 90.0, None)
    assert status.detail.startswith("MACE ")
    assert status.detail.endswith("0.51 × identity")


def test_a_running_cell_tells_stage_and_step(tmp_path):
    began(tmp_path, {"stage": "translate", "step": 100}, {"stage": "r-0", "step": 100, "loss": 1.0})
    status = one(tmp_path)
    assert (status.state, status.stage, status.step, status.steps) == ("running", "r-0 (2/2)", 100, 300)
    assert status.seconds == pytest.approx(60, abs=5)
    assert status.seconds_left == pytest.approx(500)  # 200 of 400 steps are done


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    began(tmp_path, {"stage": "r-0", "step": 20}, tail='{"stage": "r-0", "st')
    assert one(tmp_path).step == 20


def test_a_long_log_is_read_from_its_end(tmp_path):
    began(tmp_path, *({"stage": "r-0", "step": n, "filler": "x" * 90} for n in range(1, 201)))
    assert one(tmp_path).step == 200


def test_after_the_last_step_a_run_is_judged(tmp_path):
    began(tmp_path, {"stage": "r-0", "step": 300})
    assert one(tmp_path).stage == "judging"


def test_before_its_run_begins_a_cell_has_no_stage(tmp_path):
    CELL.record(tmp_path, "running", since=round(time.time()), **HERE)
    status = one(tmp_path)
    assert (status.state, status.stage, status.seconds_left) == ("running", None, 1000.0)


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("gone", ["ended", "another's", "not recorded"])
def test_a_cell_whose_process_is_gone_is_stopped(tmp_path, gone):
    began(tmp_path, {"stage": "r-0", "step": 100}, pid=ended_process() if gone == "ended" else 1)
    if gone == "not recorded":  # by an earlier regbench
        CELL.record(tmp_path, "running")
        os.utime(tmp_path / "cell/run-a" / CONFIG, (time.time() + 2, time.time() + 2))
    status = one(tmp_path)
    assert (status.state, status.stage, status.seconds) == ("stopped", "r-0 (2/2)", None)
    assert status.seconds_left == pytest.approx(500)


def test_a_cell_on_another_machine_is_said_to_be_there(tmp_path):
    began(tmp_path, {"stage": "r-0", "step": 100}, host="node7")
    status = one(tmp_path)
    assert (status.state, status.detail) == ("running", "on node7")


def test_a_failed_cell_says_why(tmp_path):
    CELL.record(tmp_path, "running", **HERE)
    (tmp_path / "cell" / CELL_LOG).write_text("regbench: loss is not finite\n")
    finish_cell(CELL, tmp_path, 1)
    assert (one(tmp_path).state, one(tmp_path).detail) == ("failed", "loss is not finite")


def test_a_record_of_other_settings_is_none(tmp_path):
    began(tmp_path, {"stage": "r-0", "step": 100})
    other = Cell("cell", ROW, "synthetic", ("run", "--seed", "1"))
    assert one(tmp_path, other).state == "waiting"


def test_a_skipped_cell_says_why(tmp_path):
    skipped = Cell("cell", ROW, "vedai", ("run",), skip_reason="vedai is not here")
    assert (one(tmp_path, skipped).state, one(tmp_path, skipped).detail) == ("skipped", "vedai is not here")


def test_the_sum_counts_states_and_says_what_it_lacks(tmp_path):
    finished(tmp_path)
    more = [Cell(name, ROW, "synthetic", ("run", "--seed", name)) for name in ("1", "2", "3")]
    statuses = status_of([CELL, *more], tmp_path, {"cell": 5.0, "1": 100.0, "2": 200.0})
    total = summary(statuses)
    assert (total["cells"], total["done"], total["waiting"], total["failed"]) == (4, 1, 3, 0)
    assert (total["seconds_left"], total["not_known"]) == (300.0, 1)
    document = json.loads(json.dumps(as_json(statuses)))
    assert document["done"] == 1
    assert [cell["state"] for cell in document["of_cells"]] == ["done", "waiting", "waiting", "waiting"]


def test_the_record_of_a_started_cell_names_its_process(tmp_path, monkeypatch):
    monkeypatch.setattr("regbench.ablation.launch.subprocess.Popen", lambda *words, **more: None)
    start_cell(CELL, tmp_path)
    status = one(tmp_path)
    assert status.state == "running"
    assert status.seconds == pytest.approx(0, abs=5)
