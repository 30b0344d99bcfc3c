"""Jobs of a cluster that are preempted, out of time or killed leave the results of a grid that nobody disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from regbench.ablation.cells import read_record
from tests.e2e.command_line import Regbench
from tests.faults.runs import difference, run_in

RECIPE = """
title = "A grid"
description = "For a test."
controls = false
budget = "smoke"
pairing = "online"
seeds = [0]
[data.synthetic]
train = 6
test = 6
size = 112
[set.run]
checkpoint_seconds = 0
log_every = 1
[[row]]
name = "one"
registrator = "dhn"
strategy = "colreg"
translator = "mimgcd"
set.strategy = {rounds = 1, refine_r = false, self_steps = 41, student_steps = 3}
set.translator.steps = 8
[[row]]
name = "other"
registrator = "dhn"
strategy = "colreg"
translator = "mimgcd"
set.strategy = {rounds = 1, refine_r = false, self_steps = 40, student_steps = 3}
set.translator.steps = 8
[[row]]
name = "out of time"
registrator = "dhn"
strategy = "supervised"
set.strategy.steps = 200
[[row]]
name = "undisturbed"
registrator = "dhn"
strategy = "self-supervised"
set.strategy.steps = 6
"""
STEPS_OF_SHARED = 8
PATIENCE = 1800
"""Seconds that a busy machine may take."""
SHARED = "mimgcd"
"""The stage that two of the cells have in common."""
ONE, OTHER, OUT_OF_TIME, UNDISTURBED = (
    f"{name}-synthetic-0" for name in ("one", "other", "out-of-time", "undisturbed")
)


def signalled(job: int) -> None:
    """What submitit sends a job that is preempted, or whose time is up."""
    os.kill(job, signal.SIGUSR2)


def kill_cell(job: int) -> None:
    """The process that trains is killed, as by a node without memory; its job goes on."""
    (child,) = Path(f"/proc/{job}/task/{job}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)


def entries(cell: Path) -> list[dict]:
    lines = [line for log in cell.glob("*/log.jsonl") for line in log.read_text().splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def steps_of(cell: Path, stage: str) -> list[int]:
    """Steps of a stage that a cell trained itself."""
    return [entry["step"] for entry in entries(cell) if entry["stage"] == stage and "taken_over" not in entry]


def amid(cell: Path, stage: str) -> bool:
    return len(steps_of(cell, stage)) >= 2


def disturb_three(out: Path, running: subprocess.Popen) -> str:
    """Preempt the cell that trains the shared stage, kill the one that waited for it, end the time of a third.

    Returns the name of the killed one.
    """
    until = time.monotonic() + PATIENCE
    preempted = killed = ""
    limited_one = False
    while not (killed and limited_one):
        assert time.monotonic() < until, "a cell did not come to its stage"
        assert running.poll() is None, "the grid ended before all were disturbed"
        if not preempted and (found := [name for name in (ONE, OTHER) if amid(out / name, SHARED)]):
            preempted = found[0]
            signalled(read_record(out / preempted)["pid"])
        if preempted and not killed:
            waited = OTHER if preempted == ONE else ONE
            if amid(out / waited, "r-self-0"):
                killed = waited
                kill_cell(read_record(out / killed)["pid"])
        if not limited_one and amid(out / OUT_OF_TIME, "supervised"):
            limited_one = True
            signalled(read_record(out / OUT_OF_TIME)["pid"])
        time.sleep(0.02)
    return killed


def grid(regbench: Regbench, name: str, *more: str) -> list[str]:
    (regbench.folder / "grid.toml").write_text(RECIPE)
    return regbench.command("ablate", "grid.toml", "--out", name, "--boards", f"{name}-boards", "--threads", "1", *more)


@pytest.mark.slow
def test_jobs_that_are_cut_short_end_with_the_same_results(regbench, tmp_path):
    pytest.importorskip("submitit")
    folder, out, whole = tmp_path, tmp_path / "jobs/grid-smoke", tmp_path / "whole/grid-smoke"
    command = grid(regbench, "jobs", "--launcher", "submitit-local", "--slurm", "timeout_min=60")
    running = subprocess.Popen(command, cwd=folder, env=regbench.environment, stderr=subprocess.PIPE, text=True)
    killed = disturb_three(out, running)
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1, said
    assert f"1 of 4 cells failed, the first is {killed}" in said
    assert read_record(out / killed)["reason"] == "killed by signal SIGKILL"
    again = subprocess.run(
        command, cwd=folder, env=regbench.environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert again.returncode == 0, again.stderr
    undisturbed = regbench(*grid(regbench, "whole")[3:], timeout=PATIENCE)
    assert undisturbed.code == 0, undisturbed.err
    for cell in (ONE, OTHER, OUT_OF_TIME, UNDISTURBED):
        assert not difference(run_in(out / cell), run_in(whole / cell)), cell
        resumed = (out / cell / "log.txt").read_text().count("resuming in stage")
        assert resumed == 0 if cell == UNDISTURBED else resumed >= 1, (cell, resumed)
    last = STEPS_OF_SHARED
    assert len([cell for cell in (ONE, OTHER) if last in steps_of(out / cell, SHARED)]) == 1, "one takes it over"
    assert len(list((tmp_path / "jobs/shared").glob("*.safetensors"))) == 1
