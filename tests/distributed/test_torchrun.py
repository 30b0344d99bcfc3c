"""``torchrun -m regbench run``: the user's command, with two processes on CPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from regbench.api.stage import Objective, Stage
from regbench.distributed.processes import World
from regbench.distributed.rank import Rank, this_rank
from regbench.errors import UsageError
from regbench.runs.plan import check_batches
from regbench.runs.request import device_of

TINY = ["--set", "dataset.train=6", "--set", "dataset.test=6", "--set", "dataset.size=112"]
RUN = [
    "run", "--registrator", "dhn", "--strategy", "supervised", "--budget", "smoke", "--set", "strategy.steps=6",
    "--set", "strategy.batch=4", *TINY,
]  # fmt: skip
SIGNALLED = """
import os, signal, sys
from regbench.training.trainer import Trainer
step = Trainer._step
def signalled(self, stage, running, number, flag):
    if number == 2 and os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, stage, running, number, flag)
Trainer._step = signalled
from regbench.cli import main
main()
"""
TOGETHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Call Python in a folder of its own: ``call([...])`` to (exit code, stdout, stderr)."""
    folder = tmp_path_factory.mktemp("torchrun")
    environment = os.environ | {"REGBENCH_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def alone(call):
    done = call("-m", "regbench", *RUN, "--out", "alone", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def estimates(folder):
    with h5py.File(next(folder.glob("*/pairs.h5"))) as file:
        return file["estimate"][()]


def same(call, name):
    # Single precision and Adam: what is not the same differs by pixels.
    np.testing.assert_allclose(estimates(call.folder / name), estimates(call.folder / "alone"), atol=0.02)


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(call, alone):
    done = call(*TOGETHER, "-m", "regbench", *RUN, "--out", "two", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # one of them writes it
    assert found["run_id"] == alone["run_id"]
    assert found["training"]["processes"] == 2
    assert "processes" not in alone["training"]
    same(call, "two")
    again = call(*TOGETHER, "-m", "regbench", *RUN, "--out", "two")
    assert again.returncode == 0
    assert again.stderr.count("already done") == 1


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_one_goes_on(call, alone):
    script = call.folder / "signalled.py"
    script.write_text(SIGNALLED)
    done = call(*TOGETHER, str(script), *RUN, "--out", "stopped")
    assert done.returncode == 1
    assert done.stderr.count("regbench: interrupted in stage supervised at step 3; run it again to resume") == 1
    result = json.loads(next((call.folder / "stopped").glob("*/result.json")).read_text())
    assert result["status"] == "interrupted"
    resumed = call("-m", "regbench", *RUN, "--out", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming in stage supervised after step 3/6" in resumed.stderr
    same(call, "stopped")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*RUN, "--set", "strategy.batch=3"], "2 processes cannot share a batch of 3 evenly"),
        (["evaluate", "--registrator", "identity"], "start `regbench evaluate` once, without torchrun"),
    ],
    ids=["uneven", "verb"],
)
def test_what_cannot_work_is_said_once(call, words, said):
    done = call(*TOGETHER, "-m", "regbench", *words)
    assert done.returncode == 1  # torchrun's own
    assert [line for line in done.stderr.splitlines() if line.startswith("regbench: ")] == [
        line for line in done.stderr.splitlines() if said in line
    ]
    assert done.stderr.count(said) == 1


def stage(batch: int, parts: int = 1) -> Stage:
    objective = Objective((), lambda batch, shared: {}, lambda p: None, lambda step: 0.0)  # type: ignore[arg-type,return-value]
    return Stage("stage", 1, batch, ("pair",), (objective,), {}, parts=parts)


@pytest.mark.parametrize(("batch", "parts"), [(16, 1), (15, 3), (6, 3)])
def test_a_batch_that_is_not_shared_evenly_is_refused(batch, parts):
    with pytest.raises(UsageError, match=rf"cannot share a batch of {batch} evenly; make it a multiple of {3 * parts}"):
        check_batches([stage(18, parts), stage(batch, parts)], processes=3)


def test_processes_have_a_gpu_each(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert device_of("auto", World(Rank(3, 4, 1))) == torch.device("cuda:1")
    assert device_of("cuda", World(Rank(0, 2, 0))) == torch.device("cuda:0")
    assert device_of("cpu", World(Rank(1, 2, 1))) == torch.device("cpu")
    assert device_of("cuda") == torch.device("cuda")
    with pytest.raises(UsageError, match="2 processes cannot share a GPU; use --device cuda"):
        device_of("cuda:0", World(Rank(0, 2, 0)))
    with pytest.raises(UsageError, match="2 CUDA devices are here; start fewer processes"):
        device_of("auto", World(Rank(2, 4, 2)))


def test_a_process_is_alone_unless_torchrun_started_it():
    assert this_rank({}) == Rank(0, 1, 0)
    assert this_rank({"RANK": "1"}) == Rank(0, 1, 0)
    assert this_rank({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Rank(3, 4, 1)


def test_one_process_does_not_import_torch_distributed_for_it():
    """What makes runs of several processes costs the others nothing."""
    code = """
import sys
import torch
before = set(sys.modules)
import regbench.distributed.processes, regbench.distributed.batch_layers, regbench.distributed.batch
with regbench.distributed.processes.joined() as world:
    world.wait()
print([name for name in set(sys.modules) - before if name.startswith("torch.distributed")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
