"""`plugins new`: what it writes installs, passes the conformance suite, runs and gets its row on a board."""

import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from regbench.errors import UsageError
from regbench.tools.new_plugin import KINDS, new_plugin
from tests.distributions import install

TINY = ["--budget", "smoke", "--set", "dataset.train=6", "--set", "dataset.test=6", "--set", "dataset.size=112"]
FEW = ["--set", "strategy.steps=2", "--set", "strategy.batch=2"]
RUNS = {
    "registrator": ["run", "--registrator", "mine", "--strategy", "supervised", *FEW, *TINY],
    "translator": ["run", "--translator", "mine", "--registrator", "sift", "--strategy", "translate",
                   "--set", "translator.steps=2", *TINY],
    "strategy": ["run", "--registrator", "mcnet", "--strategy", "mine", *FEW, *TINY],
    "dataset": ["evaluate", "--registrator", "identity", "--dataset", "mine", "--root", "pairs", "--budget", "smoke"],
    "metric": ["evaluate", "--registrator", "identity", *TINY],
}  # fmt: skip
FEWEST_PASSED = {"registrator": 20, "translator": 8, "strategy": 12, "dataset": 9, "metric": 9}


def regbench(site, folder, *words):
    """Run a command with what is installed in ``site`` and the official plugins."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "REGBENCH_DATA": str(folder / "data")}
    done = subprocess.run(
        [sys.executable, "-m", "regbench", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def draw_pairs(folder):
    """The layout that the written reader expects: four pairs to train on, three to test on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 3)):
        for i in range(count):
            image = cv2.GaussianBlur(rng.uniform(0, 255, (192, 192)).astype(np.float32), (0, 0), 2)
            image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
            for side, shown in (("a", image), ("b", 255 - image)):
                (folder / split / side).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / split / side / f"{i}.png"), shown)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_is_checked_run_and_ranked(tmp_path, kind):
    site = tmp_path / "site"
    site.mkdir()
    install(new_plugin("mine", kind, tmp_path), site)
    printed = regbench(site, tmp_path, "plugins", "check", "regbench-mine")
    assert int(re.search(r"(\d+) passed", printed)[1]) >= FEWEST_PASSED[kind], printed
    draw_pairs(tmp_path / "pairs")
    result = json.loads(regbench(site, tmp_path, *RUNS[kind], "--json", "-q"))
    assert result["status"] == "ok"
    (run,) = (tmp_path / "runs").iterdir()
    regbench(site, tmp_path, "leaderboard", "add", str(run), "--board", "mine", "--root", "boards")
    regbench(site, tmp_path, "leaderboard", "build", "--root", "boards")
    page = (tmp_path / "boards" / "mine.md").read_text()
    if kind == "metric":
        assert result["metrics"]["mine"]["value"] > 0
        return
    assert result["identity"]["test_dataset" if kind == "dataset" else kind]["name"] == "mine"
    assert re.search(r"^## mine\b|on mine\b" if kind == "dataset" else r"\| mine +\|", page, re.M), page


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_linted_and_listed_without_torch(tmp_path, kind):
    folder = new_plugin("two-words", kind, tmp_path)
    assert folder.name == "regbench-two-words"
    source = (folder / "src" / "regbench_two_words" / "two_words.py").read_text()
    assert len(source.splitlines()) < 70, "it is to be read in one go"
    listed = "import sys, regbench_two_words.plugin; print('torch' in sys.modules)"
    path = os.pathsep.join([str(folder / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", listed], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
    rules = ["--isolated", "--line-length", "120", "--select", "E,F,I,B,UP,SIM,D1", "--ignore", "D107"]
    for command in (["check", *rules], ["format", "--check", "--isolated", "--line-length", "120"]):
        pytest.importorskip("ruff")
        done = subprocess.run([sys.executable, "-m", "ruff", *command, str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("My Method", "small letters"),
        ("../escape", "small letters"),
        ("regbench-mine", "name the method alone"),
        ("lambda", "word of Python"),
        ("none", "word of Python"),
        ("plugin", "name of the module that registers"),
        ("mace", "already registered by regbench"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, told):
    with pytest.raises(UsageError, match=told):
        new_plugin(name, "metric", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path):
    folder = new_plugin("mine", "metric", tmp_path)
    (folder / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="nothing is written over"):
        new_plugin("mine", "metric", tmp_path)
    assert (folder / "README.md").read_text() == "mine"


def test_the_command_says_what_comes_next(tmp_path):
    from regbench.cli.plugins import command

    done = CliRunner().invoke(command, ["new", "mine", "--kind", "strategy", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines()[1:]]
    assert lines[0] == f"cd {tmp_path / 'regbench-mine'}"
    readme = (tmp_path / "regbench-mine" / "README.md").read_text()
    assert all(line in readme for line in lines[1:]), "the README names the same commands"
