"""What becomes of a cell whose process has ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from regbench.ablation import launch
from regbench.ablation.cells import Cell, read_record, recorded_run
from regbench.ablation.launch import CellJob, Cluster, Local, finish_cell, start_cell
from regbench.ablation.recipe import RecipeRow
from regbench.errors import UsageError
from regbench.results.layout import CELL_LOG, CELL_RECORD, CONFIG, RESULT

CELL = Cell("cell", RecipeRow(name="cell", registrator="identity"), "synthetic", ("evaluate",))


def attempted(folder: Path, name: str, after: float) -> None:
    """A run that began ``after`` seconds after the cell's record and then failed."""
    run = folder / CELL.name / name
    run.mkdir(exist_ok=True)
    for file in (CONFIG, RESULT):
        (run / file).write_text("{}")
        when = (folder / CELL.name / CELL_RECORD).stat().st_mtime + after
        os.utime(run / file, (when, when))


@pytest.mark.parametrize("made", [("run-a", "run-b"), ("run-b", "run-a")])
@pytest.mark.parametrize("last", ["run-a", "run-b"])
def test_a_failed_cell_names_the_run_it_was_at(tmp_path, made, last):
    """Whatever order the file system lists them in."""
    CELL.record(tmp_path, "running")
    for name in made:
        attempted(tmp_path, name, after=1 if name == last else -60)
    (tmp_path / CELL.name / CELL_LOG).write_text("regbench: loss is not finite\n\n")
    finish_cell(CELL, tmp_path, 1)
    record = read_record(tmp_path / CELL.name)
    assert (record["status"], record["reason"], record["run"]) == ("failed", "loss is not finite", last)


def test_a_cell_that_failed_before_it_had_a_run_names_none(tmp_path):
    CELL.record(tmp_path, "running")
    attempted(tmp_path, "run-of-other-settings", after=-60)
    finish_cell(CELL, tmp_path, -signal.SIGKILL)
    record = read_record(tmp_path / CELL.name)
    assert "run" not in record
    assert record["reason"] == "killed by signal SIGKILL"


def test_a_real_clock_tells_attempts_apart(tmp_path):
    """The record and the run's first file are written one soon after the other."""
    for number in range(3):
        CELL.record(tmp_path, "running")
        run = tmp_path / CELL.name / f"run-{9 - number}"
        run.mkdir()
        (run / CONFIG).write_text("{}")
        finish_cell(CELL, tmp_path, 1)
        assert read_record(tmp_path / CELL.name)["run"] == run.name
        time.sleep(0.02)  # coarser than the clock of file times


def test_a_cell_that_ended_well_without_a_result_failed(tmp_path):
    CELL.record(tmp_path, "running")
    finish_cell(CELL, tmp_path, 0)
    assert "left no result" in read_record(tmp_path / CELL.name)["reason"]


def test_a_cell_imports_nothing_from_the_folder_it_is_started_in(tmp_path, monkeypatch):
    """Whatever lies there, such as what a recipe brought, is no module."""
    (tmp_path / "click.py").write_text("open('code_ran', 'w')")
    monkeypatch.chdir(tmp_path)
    cell = Cell("cell", CELL.row, "synthetic", ("--version",))
    monkeypatch.setattr(Cell, "command", lambda self, out: ["--version"])
    assert start_cell(cell, tmp_path).wait() != 99
    assert not (tmp_path / "code_ran").exists()


@pytest.mark.parametrize("run", ["../elsewhere", "/elsewhere", "..", "link"])
def test_the_run_a_record_names_lies_in_the_cells_folder(tmp_path, run):
    for folder in (tmp_path / "elsewhere", tmp_path / "cell" / "own"):
        folder.mkdir(parents=True)
        (folder / RESULT).write_text("{}")
    (tmp_path / "cell" / "link").symlink_to(tmp_path / "elsewhere")
    CELL.record(tmp_path, "ok", run="own")
    assert recorded_run(tmp_path / "cell") == tmp_path / "cell" / "own"
    CELL.record(tmp_path, "ok", run=run.replace("/elsewhere", f"{tmp_path}/elsewhere") if run[0] == "/" else run)
    assert recorded_run(tmp_path / "cell") is None


CHECKPOINTS_WHEN_STOPPED = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path("checkpoint").write_text("whole")
    sys.exit(1)
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background, whose processes inherit it
signal.signal(signal.SIGTERM, stop)
pathlib.Path("started").touch()
time.sleep(60)
"""


def test_a_job_that_is_preempted_ends_its_cell_with_a_checkpoint_and_is_queued_again(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    command = [sys.executable, "-c", CHECKPOINTS_WHEN_STOPPED]
    monkeypatch.setattr(launch, "start_cell", lambda *_: subprocess.Popen(command, cwd=tmp_path))
    monkeypatch.setattr(launch, "finish_cell", lambda *_: None)
    job = pickle.loads(pickle.dumps(CellJob()))
    running = threading.Thread(target=job, args=(CELL, tmp_path, None))
    running.start()
    until = time.monotonic() + 60
    while not (tmp_path / "started").is_file():
        assert time.monotonic() < until
        time.sleep(0.01)
    again = job.checkpoint(CELL, tmp_path, None)
    assert (tmp_path / "checkpoint").read_text() == "whole"
    running.join(60)
    assert not running.is_alive()
    assert isinstance(again.function, CellJob)
    assert (again.args, again.kwargs) == ((CELL, tmp_path, None), {})
    pickle.dumps(again.function)  # it goes to another machine


def test_cells_end_with_an_ablation_that_is_stopped(tmp_path, monkeypatch):
    """Its slots are asked for one by one, so that the second cell is where it is stopped."""
    processes = []

    def started(*_):
        if processes:
            while not (tmp_path / "started").is_file():
                time.sleep(0.01)
            raise KeyboardInterrupt
        processes.append(subprocess.Popen([sys.executable, "-c", CHECKPOINTS_WHEN_STOPPED], cwd=tmp_path))
        return processes[0]

    monkeypatch.setattr(launch, "start_cell", started)
    with pytest.raises(KeyboardInterrupt):
        Local(2).run([CELL, CELL], tmp_path, lambda _: None)
    assert processes[0].returncode == 1
    assert (tmp_path / "checkpoint").read_text() == "whole"


def test_a_cluster_is_told_how_long_a_job_may_take(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(UsageError, match="timeout_min=240 --slurm gpus_per_node=1"):
        Cluster(tmp_path, "slurm", cpus_per_task=2)


def test_jobs_are_cancelled_when_the_ablation_is_stopped(tmp_path):
    pytest.importorskip("submitit")

    class Job:
        job_id = "7"
        cancelled = False

        def result(self):
            raise KeyboardInterrupt

        def cancel(self, check=True):
            Job.cancelled = True

    cluster = Cluster(tmp_path, "local")
    cluster.executor.submit = lambda *_: Job()
    with pytest.raises(KeyboardInterrupt):
        cluster.run([CELL], tmp_path, lambda cell: None)
    assert Job.cancelled
