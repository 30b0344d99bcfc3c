"""SIGKILL in each kind of stage and during a checkpoint write: the same command ends with bit-identical metrics."""

from __future__ import annotations

import signal

import h5py
import numpy as np
import pytest
from command_line import SMOKE

DIE_IN_STEP = """
import os, signal
from regbench.engine.trainer import Trainer
step = Trainer._step
def dying(self, stage, running, number, flag):
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, stage, running, number, flag)
Trainer._step = dying
"""
DIE_IN_WRITE = """
import os, signal
from regbench.engine import checkpoint
save, count = checkpoint.save_file, 0
def dying(tensors, path, metadata):
    global count
    count += 1
    save(tensors, path, metadata)
    if count == 3:
        os.truncate(path, os.path.getsize(path) // 3)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = dying
"""


def train(regbench, strategy: str, out: str, inject: str = ""):
    return regbench(
        "run", "--registrator", "mcnet", "--strategy", strategy, *SMOKE,
        "--set", "run.checkpoint_seconds=0", "--out", out, "--json", "-q", inject=inject,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "inject"),
    [("supervised", DIE_IN_STEP), ("self-supervised", DIE_IN_STEP), ("supervised", DIE_IN_WRITE)],
    ids=["supervised-step", "self-supervised-step", "checkpoint-write"],
)
@pytest.mark.slow
def test_killed_run_resumes_to_identical_metrics(regbench, strategy, inject):
    whole = train(regbench, strategy, "whole")
    assert whole.code == 0, whole.err
    killed = train(regbench, strategy, "killed", inject)
    assert killed.code == -signal.SIGKILL
    assert not list((regbench.folder / "killed").glob("*/result.json"))
    resumed = train(regbench, strategy, "killed")
    assert resumed.code == 0, resumed.err
    assert resumed.json["metrics"] == whole.json["metrics"]
    assert resumed.json["run_id"] == whole.json["run_id"]
    files = [next((regbench.folder / out).glob("*/pairs.h5")) for out in ("whole", "killed")]
    with h5py.File(files[0]) as a, h5py.File(files[1]) as b:
        np.testing.assert_array_equal(a["estimate"][()], b["estimate"][()])
    weights = [path.with_name("weights.safetensors").read_bytes() for path in files]
    assert weights[0] == weights[1]
