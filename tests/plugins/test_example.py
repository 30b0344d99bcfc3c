"""A stranger's plugin: installed by itself, it lists, passes the suite, runs and ranks, with no change to the core."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.distributions import install

EXAMPLE = Path(__file__).parents[2] / "plugins" / "example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the example is installed, and where its commands run."""
    return install(EXAMPLE, tmp_path_factory.mktemp("example"))


def regbench(folder, *words):
    env = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "REGBENCH_LOAD_PLUGINS": "regbench-example"}
    done = subprocess.run(
        [sys.executable, "-m", "regbench", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed(folder):
    found = json.loads(regbench(folder, "plugins", "list", "--json"))
    assert [c["name"] for c in found["components"]["registrator"]] == ["phase-shift"]
    assert {p["distribution"]: p["status"] for p in found["plugins"]}["regbench-example"] == "ok"


def test_it_runs_and_gets_its_row(folder):
    small = ["--budget", "quick", "--set", "dataset.train=4", "--set", "dataset.test=8", "--set", "dataset.size=128"]
    result = json.loads(regbench(folder, "evaluate", "--registrator", "phase-shift", *small, "--json", "-q"))
    assert result["status"] == "ok"
    assert result["identity"]["registrator"]["distribution"] == "regbench-example"
    (run,) = (folder / "runs").iterdir()
    regbench(folder, "leaderboard", "add", str(run), "--board", "mine", "--root", "boards")
    regbench(folder, "leaderboard", "build", "--root", "boards")
    assert "phase-shift" in (folder / "boards" / "mine.md").read_text()


def test_it_finds_a_known_shift(folder, monkeypatch):
    from regbench.api.types import PairInfo
    from regbench.testing.images import shifted_pair

    monkeypatch.syspath_prepend(folder)
    from regbench_example.phase_shift import PhaseShift, PhaseShiftConfig

    network = PhaseShift(PhaseShiftConfig(), PairInfo(patch=64, rho=16))
    for shift in [(9, -4), (-6, 3)]:
        found = network.register(*shifted_pair(2, 64, shift))
        assert torch.equal(found.displacement, torch.tensor(shift).float().expand(2, 4, 2))


def test_it_is_small_and_not_a_requirement():
    written = [line for path in (EXAMPLE / "src").rglob("*.py") for line in path.read_text().splitlines()]
    assert len(written) < 60
    assert "example" not in (EXAMPLE.parents[1] / "requirements.txt").read_text()
