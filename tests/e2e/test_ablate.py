"""An ablation through the real command line: run, continue, repeat one cell, keep failures, use a cluster."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from regbench.ablation.cells import Cell, cells_of, read_record
from regbench.ablation.launch import finish_cell, run_cells
from regbench.ablation.recipe_file import read_recipe
from regbench.results.layout import CELL_LOG, CELL_STDOUT
from tests.e2e.slurm import slurm_on_loopback

RECIPE = """
title = "A grid"
description = "For a test."
controls = false
budget = "smoke"
seeds = [0]
[data.synthetic]
train = 6
test = 6
size = 112
[[row]]
name = "nothing"
registrator = "identity"
[[row]]
name = "again"
registrator = "identity"
"""
TRAINED = """
[[row]]
name = "trained"
registrator = "dhn"
strategy = "supervised"
set.strategy.steps = {steps}
set.run.checkpoint_seconds = 0
set.run.log_every = 1
"""


def recipe(folder: Path, more: str = "") -> str:
    path = folder / "grid.toml"
    path.write_text(RECIPE + more)
    return str(path)


def results(folder: Path) -> dict[str, int]:
    """Time of writing of each cell's result."""
    return {path.parent.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/grid-smoke/*/*/result.json")}


class Inline:
    """A launcher in this process: the same commands and records, without starting Python for each cell."""

    def __init__(self, inline) -> None:
        self.inline = inline
        self.started: list[str] = []

    def run(self, cells, out, done) -> None:
        for cell in cells:
            self.started.append(cell.name)
            cell.record(out, "running")
            outcome = self.inline(*cell.command(out), "--json")
            (out / cell.name / CELL_STDOUT).write_text(outcome.out)
            (out / cell.name / CELL_LOG).write_text(outcome.err)
            finish_cell(cell, out, outcome.code)
            done(cell)


def go(inline, folder: Path, more: str = "") -> tuple[Inline, list[Cell]]:
    """Run the recipe in this process; what was started, and all cells."""
    cells = cells_of(read_recipe(Path(recipe(folder, more))), {}, lambda name: True, "cpu")
    launcher = Inline(inline)
    run_cells(cells, folder / "runs/grid-smoke", launcher, lambda cell: None)
    return launcher, cells


def test_only_what_is_missing_is_run(inline, tmp_path):
    assert len(go(inline, tmp_path)[0].started) == 2
    first = results(tmp_path)
    assert set(first) == {"nothing-synthetic-0", "again-synthetic-0"}
    assert go(inline, tmp_path)[0].started == []

    shutil.rmtree(tmp_path / "runs/grid-smoke/again-synthetic-0")
    assert go(inline, tmp_path)[0].started == ["again-synthetic-0"]
    second = results(tmp_path)
    assert second["nothing-synthetic-0"] == first["nothing-synthetic-0"]
    assert second["again-synthetic-0"] > first["again-synthetic-0"]


def test_rows_whose_names_share_a_folder_are_two_cells_and_run_once(inline, tmp_path):
    more = '[[row]]\nname = "Nothing"\nregistrator = "sift"\n[[row]]\nname = "é"\nregistrator = "orb"\n'
    assert len(go(inline, tmp_path, more)[0].started) == 4
    assert len(results(tmp_path)) == 4
    assert go(inline, tmp_path, more)[0].started == []


def test_the_dry_run_tells_what_fails_and_runs_nothing(inline, tmp_path):
    more = '[[row]]\nname = "wrong"\nregistrator = "dhn"\nstrategy = "supervised"\nset.protocol.rho = 40\n'
    dry = inline("ablate", recipe(tmp_path, more), "--dry-run")
    assert dry.code == 1
    assert "fails: protocol: rho=40 can fold a patch of 64 px" in dry.out
    assert "1 of 3 cells cannot run, the first is wrong-synthetic-0: protocol: rho=40" in dry.err
    assert "synthetic: 6 training and 6 test pairs" in dry.out
    assert inline("ablate", recipe(tmp_path), "--dry-run").code == 0
    assert not (tmp_path / "runs").exists()


def test_several_recipes_are_told_apart_and_their_state_is_read_from_files(inline, tmp_path):
    go(inline, tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("A grid", "Another") + TRAINED.format(steps=3))
    told = inline("ablate", recipe(tmp_path), str(other), "--status", "--json", "--device", "cpu")
    assert told.code == 0, told.err
    document = json.loads(told.out)
    assert (document["cells"], document["done"], document["waiting"]) == (5, 2, 3)
    first, second = document["recipes"]
    assert {cell["cell"]: cell["state"] for cell in first["of_cells"]} == {
        "nothing-synthetic-0": "done", "again-synthetic-0": "done"
    }  # fmt: skip
    assert second["of_cells"][2]["seconds_left"] is None
    told = inline("ablate", recipe(tmp_path), str(other), "--status", "--device", "cpu")
    assert "5 cells: 2 done, 3 waiting. Training left, one after another: 0:00, and that of 1 cells" in told.out
    assert inline("ablate", recipe(tmp_path), recipe(tmp_path), "--status").code == 2
    assert "--json goes with --status" in inline("ablate", recipe(tmp_path), "--json").err


def test_no_cell_starts_when_time_is_up(inline, tmp_path):
    done = inline("ablate", recipe(tmp_path), "--end-within", "0")
    assert done.code == 0, done.err
    assert "left for later: nothing-synthetic-0" in done.err
    assert "2 of 2 cells are left for later; the same command goes on" in done.err
    assert not list((tmp_path / "runs/grid-smoke").glob("*/cell.json"))
    assert inline("ablate", recipe(tmp_path), "--end-within", "0", "--launcher", "slurm").code == 2


@pytest.mark.slow
def test_each_cell_is_on_the_board_before_the_next_ends(regbench):
    """A cell that is killed later takes nothing away; one that the board refuses stops no other."""
    path = recipe(regbench.folder, '[[row]]\nname = "sift"\nregistrator = "sift"\n')
    done = regbench("ablate", path, "--board", "mine", "--threads", "1")
    assert done.code == 0, done.err
    board = regbench.folder / "leaderboards" / "results" / "mine"
    (sift,) = [
        p for p in board.glob("*.json") if json.loads(p.read_text())["identity"]["registrator"]["name"] == "sift"
    ]
    assert json.loads(sift.read_text())["provenance"]["cpu"]["threads"] == 1
    assert not (regbench.folder / "leaderboards" / "results" / "grid-smoke").exists()
    settings = board / "board.toml"
    settings.write_text('title = "Mine"\n')
    record = json.loads(sift.read_text())
    record["metrics"]["failed"]["value"] += 1
    sift.write_text(json.dumps(record))
    again = regbench("ablate", path, "--board", "mine")
    assert again.code == 1
    assert "sift-synthetic-0 is not on the board mine: " in again.err
    assert "holds other numbers under the id of" in again.err
    assert settings.read_text() == 'title = "Mine"\n', "what a person wrote stays"


def test_a_root_of_no_data_set_of_the_recipe_is_refused(inline, tmp_path):
    done = inline("ablate", recipe(tmp_path), "--dry-run", "--root", f"synthetik={tmp_path}")
    assert done.code == 2
    assert "unknown data set of --root 'synthetik': did you mean 'synthetic'?" in done.err


def test_the_dry_run_misses_a_papers_numbers(inline, tmp_path):
    path = Path(recipe(tmp_path))
    path.write_text('papers = ["nowhere"]\n' + path.read_text())
    done = inline("ablate", str(path), "--dry-run")
    assert done.code == 1
    assert "put nowhere's paper.csv and paper.toml there" in done.err


def test_a_run_judged_elsewhere_may_take_that_sets_source(inline, tmp_path):
    """A finished run keeps its protocol but for the source, which is another image of each data set."""
    words = ("--registrator", "dhn", "--strategy", "supervised", "--budget", "smoke", "--set", "strategy.steps=2")
    data = ("--set", "dataset.train=6", "--set", "dataset.test=6", "--set", "dataset.size=112")
    trained = inline("run", *words, *data, "--out", "runs", "--json").json
    (run,) = (tmp_path / "runs").iterdir()
    judged = {
        source: inline("evaluate", "--run", str(run), *data, "--set", f"protocol.source={source}", "--json").json
        for source in "AB"
    }
    plain = inline("evaluate", "--run", str(run), *data, "--json").json
    assert plain["run_id"] == judged["A"]["run_id"], "a source that is the run's own changes no id"
    assert judged["B"]["run_id"] != plain["run_id"]
    assert judged["B"]["identity"]["protocol"] == trained["identity"]["protocol"] | {"source": "B"}
    assert judged["B"]["identity"]["test_dataset"] != plain["identity"]["test_dataset"]
    refused = inline("evaluate", "--run", str(run), *data, "--set", "protocol.rho=4")
    assert refused.code == 2
    assert "only dataset.… and protocol.source can be set" in refused.err


def test_another_setting_is_another_cell_to_run(inline, tmp_path):
    go(inline, tmp_path)
    more = '[[row]]\nname = "third"\nregistrator = "identity"\n'
    assert go(inline, tmp_path, more)[0].started == ["third-synthetic-0"]
    more += "set.protocol.rho = 12\n"
    assert go(inline, tmp_path, more)[0].started == ["third-synthetic-0"], "its command is another one now"


def test_a_failed_attempt_is_not_done_because_other_settings_once_were(inline, tmp_path):
    row = '[[row]]\nname = "third"\nregistrator = "identity"\n'
    go(inline, tmp_path, row)
    wrong = row + "set.protocol.nonsense = 12\n"
    for _ in range(2):
        assert go(inline, tmp_path, wrong)[0].started == ["third-synthetic-0"]
    assert "run" not in read_record(tmp_path / "runs/grid-smoke/third-synthetic-0")


def test_what_needs_a_failed_cell_fails_with_the_reason(inline, tmp_path):
    more = """
    [[row]]
    name = "teacher"
    registrator = "dhn"
    strategy = "supervised"
    set.strategy.nonsense = 1
    [[row]]
    name = "student"
    registrator = "sift"
    teacher = "teacher"
    """
    launcher, cells = go(inline, tmp_path, more)
    out = tmp_path / "runs/grid-smoke"
    records = {cell.name: read_record(out / cell.name) for cell in cells}
    assert "unknown setting of strategy 'supervised' 'nonsense'" in records["teacher-synthetic-0"]["reason"]
    assert "needs the run of teacher-synthetic-0" in records["student-synthetic-0"]["reason"]
    assert "student-synthetic-0" not in launcher.started
    assert records["nothing-synthetic-0"]["status"] == "ok"


@pytest.mark.slow
def test_the_command_runs_keeps_failures_and_writes_the_board(regbench):
    more = '[[row]]\nname = "wrong"\nregistrator = "dhn"\nstrategy = "supervised"\nset.strategy.nonsense = 1\n'
    more += '[[row]]\nname = "never"\nregistrator = "sift"\nstrategy = "supervised"\n'
    path = recipe(regbench.folder, more)
    done = regbench("ablate", path)
    assert done.code == 1
    assert "wrong-synthetic-0: failed: unknown setting of strategy 'supervised' 'nonsense'" in done.err
    assert "skipped never-synthetic-0: supervised needs a registrator with train" in done.err
    assert len(results(regbench.folder)) == 2
    page = (regbench.folder / "leaderboards" / "grid-smoke.md").read_text()
    assert "# A grid (smoke budget, synthetic)" in page
    assert "never on synthetic was not run" in page
    dry = regbench("ablate", path, "--dry-run")
    assert dry.out.count(" done ") == 2


@pytest.mark.slow
def test_the_clusters_way_gives_the_same_on_this_machine(regbench):
    pytest.importorskip("submitit")
    done = regbench("ablate", recipe(regbench.folder), "--launcher", "submitit-local", "--slurm", "timeout_min=5")
    assert done.code == 0, done.err
    assert set(results(regbench.folder)) == {"nothing-synthetic-0", "again-synthetic-0"}


@pytest.mark.slow
def test_a_killed_grid_goes_on_within_the_cell(regbench):
    """SIGKILL of the ablation ends its cell, too; the next attempt resumes that cell from its checkpoint."""
    path = recipe(regbench.folder, TRAINED.format(steps=150))
    process = subprocess.Popen(regbench.command("ablate", path), cwd=regbench.folder, env=regbench.environment)
    cell = regbench.folder / "runs/grid-smoke/trained-synthetic-0"
    until = time.monotonic() + 240
    while not list(cell.glob("*/checkpoint.safetensors")):
        assert time.monotonic() < until, "no checkpoint came"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = results(regbench.folder)
    done = regbench("ablate", path)
    assert done.code == 0, done.err
    after = results(regbench.folder)
    assert "resuming in stage supervised" in (cell / "log.txt").read_text()
    assert all(after[name] == killed[name] for name in ("nothing-synthetic-0", "again-synthetic-0") if name in killed)
    assert "trained-synthetic-0" in after


@pytest.mark.slow
def test_four_cells_through_a_real_slurm(regbench, tmp_path):
    pytest.importorskip("submitit")
    more = '[[row]]\nname = "ORB"\nregistrator = "orb"\n[[row]]\nname = "ECC"\nregistrator = "ecc"\n'
    with slurm_on_loopback(tmp_path / "slurm"):
        done = regbench(
            "ablate", recipe(regbench.folder, more), "--launcher", "slurm", "--slurm", "timeout_min=5", timeout=300
        )
    assert done.code == 0, done.err
    assert len(results(regbench.folder)) == 4
    assert len(list((regbench.folder / "runs/grid-smoke/jobs").glob("*"))) >= 4
