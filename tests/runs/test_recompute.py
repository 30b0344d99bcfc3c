"""``leaderboard verify``: a row is recomputed when its weights give its estimates again, and only then."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.leaderboard import command
from regbench.errors import DataError, UsageError
from regbench.report import leaderboard
from regbench.results.layout import RESULT
from regbench.results.pairs import Pairs, read_pairs, write_pairs
from regbench.runs.recompute import agreement, recompute
from regbench.runs.request import Request
from tests.runs.place import SIZE, TRAINED, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run that was trained, one that was judged with given weights, and one of SIFT, on the board ``mine``."""
    folder = tmp_path_factory.mktemp("recompute")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(folder / "packs"))
        made = Place(folder).fill()
        made.trained, made.judged = made.run(**TRAINED)[0].folder, made.run()[0].folder
        made.sift = made.run(registrator="sift", weights=None, sets={"registrator": {}})[0].folder
        yield made


@pytest.fixture
def root(place, tmp_path):
    root = tmp_path / "boards"
    leaderboard.add(root, "mine", [place.trained, place.judged, place.sift])
    return root


@pytest.fixture
def request_of(place):
    data = {"pairs": "pairs.csv", **SIZE}
    return Request(registrator="", dataset="", root=place.root, sets={"dataset": data}, device="cpu")


@pytest.mark.parametrize("kind", ["trained", "judged", "sift"])
def test_weights_that_give_the_estimates_mark_the_row(place, root, request_of, kind):
    run = getattr(place, kind)
    assert leaderboard.render(root, "mine").count("| submitted") == 3
    (found,) = recompute(run, root, [], request_of)
    assert found.agree == 1.0
    text = leaderboard.render(root, "mine")
    assert text.count("| recomputed") == 1
    assert text.count("| submitted") == 2


def test_estimates_that_no_network_gave_are_not_recomputed(place, root, request_of):
    """Consistent to the last number, but the weights say otherwise."""
    run_id = json.loads((place.trained / RESULT).read_text())["run_id"]
    stored = root / "results" / "mine" / f"{run_id}.pairs.h5"
    pairs = read_pairs(stored)
    truth = pairs.displacement
    forged = Pairs.of(truth, truth + 0.3 * (pairs.estimate - truth), pairs.ok, pairs.image)
    write_pairs(stored, forged, {"run_id": run_id})
    with pytest.raises(DataError, match=r"agree with .* % of its estimates and give MACE .* it is not recomputed"):
        recompute(place.trained, root, ["mine"], request_of)
    assert not list(root.rglob("*.recomputed.json"))


def test_weights_of_another_run_do_not_recompute(place, root, request_of, tmp_path):
    other = shutil.copytree(place.trained, tmp_path / "other")
    content = bytearray((other / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "weights.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="weights"):
        recompute(other, root, [], request_of)


def test_other_data_and_other_boards_are_told(place, root, request_of, tmp_path):
    with pytest.raises(UsageError, match=r"gives the test pairs .* name its data with --data"):
        recompute(place.trained, root, [], replace(request_of, sets={"dataset": SIZE}))
    leaderboard.add(tmp_path / "elsewhere", "mine", [place.sift])
    with pytest.raises(UsageError, match="add it first"):
        recompute(place.trained, tmp_path / "elsewhere", [], request_of)


def test_the_command_line(place, root):
    sets = [f"dataset.{name}={value}" for name, value in {"pairs": "pairs.csv", **SIZE}.items()]
    words = [word for pair in sets for word in ("--set", pair)]
    runs = [str(place.trained), str(place.judged)]
    done = CliRunner().invoke(
        command, ["verify", *runs, "--data", str(place.root), *words, "--root", str(root), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert done.output.count("recomputed ") == 2


def test_agreement():
    truth = np.zeros((4, 4, 2))
    a = Pairs.of(truth, truth, [True, True, False, False], range(4))
    b = Pairs.of(truth, truth + np.array([0.04, 0.06, 9, 0])[:, None, None], [True, True, False, True], range(4))
    assert agreement(a, a) == 1.0
    assert agreement(a, b) == 0.5
    assert agreement(a, Pairs.of(truth[:2], truth[:2], [True, True], range(2))) == 0.0
