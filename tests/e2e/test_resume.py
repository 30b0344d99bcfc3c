"""SIGKILL in each kind of stage and during a checkpoint write: the same command ends with bit-identical metrics."""

from __future__ import annotations

import signal

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.command_line import SMOKE, TINY

DIE_IN_STEP = """
import os, signal
from regbench.training.trainer import Trainer
step = Trainer._step
def dying(self, stage, running, number, flag):
    if stage.name == {stage!r} and number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, stage, running, number, flag)
Trainer._step = dying
"""
DIE_IN_WRITE = """
import os, signal
from regbench.weights import files
save, count = files.save_file, 0
def dying(tensors, path, metadata):
    global count
    count += 1
    save(tensors, path, metadata)
    if count == 3:
        os.truncate(path, os.path.getsize(path) // 3)
        os.kill(os.getpid(), signal.SIGKILL)
files.save_file = dying
"""
COLREG = ["--strategy", "colreg", "--translator", "mimgcd", *SMOKE[:2], *SMOKE[6:]]
COMMANDS = {
    "supervised": ["--strategy", "supervised", *SMOKE],
    "self-supervised": ["--strategy", "self-supervised", *SMOKE],
    "colreg": COLREG,
    "colreg-pool": [*COLREG, "--set", "strategy.rounds=1", "--set", "strategy.pool=2"],
    **{name: ["--strategy", name, *SMOKE] for name in ("scpnet", "alto", "bihome", "cudhn")},
    "nemar": ["--strategy", "nemar", "--translator", "mimgcd", *SMOKE],
    "dfmir": ["--strategy", "dfmir", "--translator", "cut", *SMOKE],
    "sshnet": ["--strategy", "sshnet", "--translator", "unet", *SMOKE],
    "sshnet-d": ["--strategy", "sshnet-d", *SMOKE],
}
COLREG = [
    "mimgcd", "r-warm-up", "r-self-0", "r-0", "target-encoder-1", "mimgcd-1", "source-encoder-1", "r-self-1", "r-1",
]  # fmt: skip
STAGES = {
    "scpnet": "scpnet", "alto": "alto", "bihome": "bihome", "cudhn": "cudhn-masked", "nemar": "nemar",
    "dfmir": "dfmir", "sshnet": "sshnet", "sshnet-d": "sshnet-d",
}  # fmt: skip
ADVERSARIAL = {
    "cyclegan": "cyclegan",
    "cut": "cut",
    "fastcut": "cut",
    "unsb": "unsb",
    "munit": "munit",
    "ugatit": "ugatit",
    "ugatit-light": "ugatit",
}  # translator to its stage
COMMANDS |= {
    name: ["--strategy", "colreg", "--set", "strategy.rounds=1", "--translator", name, *SMOKE[:2], *SMOKE[6:]]
    for name in ADVERSARIAL
}
KILLS = [
    ("supervised", DIE_IN_STEP.format(stage="supervised")),
    ("supervised", DIE_IN_WRITE),
    ("self-supervised", DIE_IN_STEP.format(stage="self-supervised")),
    *(("colreg", DIE_IN_STEP.format(stage=stage)) for stage in COLREG),
    ("colreg-pool", DIE_IN_STEP.format(stage="r-self-0")),  # in the first step whose translations were kept
    ("colreg", DIE_IN_WRITE),
    *((name, DIE_IN_STEP.format(stage=stage)) for name, stage in (STAGES | ADVERSARIAL).items()),
]
IDS = ["supervised", "write", "self-supervised", *COLREG, "colreg-pool", "colreg-write", *STAGES, *ADVERSARIAL]


def train(regbench, teacher, name: str, out: str, inject: str = ""):
    taught = ["--teacher", str(teacher)] if name == "sshnet-d" else []
    return regbench(
        "run", "--registrator", "mcnet", *COMMANDS[name], *taught, "--set", "run.checkpoint_seconds=0", "--out", out,
        "--json", "-q", inject=inject,
    )  # fmt: skip


@pytest.fixture(scope="module")
def teacher(regbench_once):
    """A finished run: doing nothing, which is soon done."""
    done = regbench_once("evaluate", "--registrator", "identity", "--budget", "smoke", *TINY, "--out", "teacher")
    assert done.code == 0, done.err
    return next((regbench_once.folder / "teacher").iterdir())


@pytest.fixture(scope="module")
def whole(regbench_once, teacher):
    """Runs that nothing disturbed, one a command."""
    done = {}

    def of(name: str):
        if name not in done:
            done[name] = train(regbench_once, teacher, name, name)
            assert done[name].code == 0, done[name].err
        return done[name].json, next((regbench_once.folder / name).glob("*/pairs.h5"))

    return of


@pytest.mark.parametrize(("name", "inject"), KILLS, ids=IDS)
@pytest.mark.slow
def test_killed_run_resumes_to_identical_metrics(regbench, whole, teacher, name, inject):
    expected, undisturbed = whole(name)
    killed = train(regbench, teacher, name, "killed", inject)
    assert killed.code == -signal.SIGKILL
    assert not list((regbench.folder / "killed").glob("*/result.json"))
    resumed = train(regbench, teacher, name, "killed")
    assert resumed.code == 0, resumed.err
    assert resumed.json["metrics"] == expected["metrics"]
    assert resumed.json["run_id"] == expected["run_id"]
    continued = next((regbench.folder / "killed").glob("*/pairs.h5"))
    with h5py.File(undisturbed) as a, h5py.File(continued) as b:
        np.testing.assert_array_equal(a["estimate"][()], b["estimate"][()])
    first, second = (load_file(path.with_name("weights.safetensors")) for path in (undisturbed, continued))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
