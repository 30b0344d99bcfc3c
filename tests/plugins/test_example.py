"""A stranger's plugin: installed by itself, it lists, passes the suite, runs and ranks, with no change to the core."""

import json
import os
import re
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


def regbench(folder, *words, beside=""):
    """Run a command with the example installed, and the distributions named in ``beside``."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    load = {"REGBENCH_LOAD_PLUGINS": f"regbench-example,{beside}"}
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | load
    done = subprocess.run(
        [sys.executable, "-m", "regbench", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed(folder):
    found = json.loads(regbench(folder, "plugins", "list", "--json"))
    assert [c["name"] for c in found["components"]["registrator"]] == ["identity", "phase-shift"]
    assert [c["name"] for c in found["components"]["strategy"]] == ["there-and-back"]
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


@pytest.mark.slow
def test_it_passes_the_suite(folder):
    printed = regbench(folder, "plugins", "check", "regbench-example", beside="regbench-registrators")
    passed = int(re.search(r"(\d+) passed", printed)[1])
    assert passed >= 34, "without a registrator to train the strategy's tests are skipped"


def test_its_strategy_trains(folder):
    small = ["strategy.steps=2", "dataset.train=4", "dataset.test=8", "dataset.size=128"]
    sets = [word for setting in small for word in ("--set", setting)]
    words = ["--registrator", "dhn", "--strategy", "there-and-back", "--budget", "smoke", *sets, "--json", "-q"]
    result = json.loads(regbench(folder, "run", *words, beside="regbench-registrators"))
    assert result["status"] == "ok"
    assert result["identity"]["strategy"]["distribution"] == "regbench-example"
    assert result["identity"]["supervision"] == "none"


def test_estimates_that_cancel_cost_nothing(folder, monkeypatch):
    from regbench import Batch, Pair, Registration, SelfPair

    monkeypatch.syspath_prepend(folder)
    from regbench_example.there_and_back import ThereAndBack, ThereAndBackConfig

    image, other = torch.zeros(2, 3, 64, 64), torch.ones(2, 3, 64, 64)
    own = SelfPair(image, image, torch.zeros(2, 4, 2), torch.ones(2, 1, 64, 64))
    batch = Batch(2, 0, torch.Generator(), {"pair": Pair(image, other), "self_source": own, "self_target": own})

    class Shift:
        """Estimates pixels to the right: those told for the pair, as many for the reversed one."""

        def __init__(self, there, back):
            self.there, self.back = there, back

        def __call__(self, source, target):
            x = self.there if source is image else self.back
            return Registration(torch.tensor([x, 0.0]).expand(1, 2, 4, 2), (64, 64))

        def loss(self, registration, displacement):
            return torch.zeros(())

    strategy = ThereAndBack(ThereAndBackConfig(weight=1.0))
    for there, back, missed in [(5.0, -5.0, 0.0), (5.0, -3.0, 1.0), (5.0, 5.0, 5.0)]:
        strategy.registrator = Shift(there, back)
        assert float(strategy.loss(batch, {})["loss"]) == pytest.approx(missed, abs=1e-4)  # x moves, y does not


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
    for path in (EXAMPLE / "src").rglob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path.name
    assert "example" not in (EXAMPLE.parents[1] / "requirements.txt").read_text()
