"""Boards are a pure function of committed results, and false results do not pass.

To renew the golden page after a wanted change: ``REGBENCH_GOLDEN=write pytest tests/test_leaderboard.py``.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from regbench import leaderboard
from regbench.cli.leaderboard import command
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.metrics import METRIC_VERSION, summarise, verdict
from regbench.report import tables
from regbench.report.ranking import seed_interval
from regbench.results import (
    Identity,
    Measure,
    Pairs,
    Result,
    run_id_of,
    write_json,
    write_pairs,
    write_result,
)

GOLDEN = Path(__file__).parent / "golden" / "leaderboard.md"
IMAGES, EACH = 24, 4
PACK = "b" * 64


def component(name: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "version": "0.1.0", "distribution": "regbench-test", "config": config}


def identity_of(registrator: str, **changes: Any) -> Identity:
    return Identity.model_validate(
        {
            "translator": None,
            "registrator": component(registrator),
            "strategy": None,
            "train_dataset": {"name": "synthetic", "pack_sha256": PACK},
            "test_dataset": {"name": "synthetic", "manifest_sha256": "a" * 64},
            "protocol": {"patch": 128, "rho": 32, "pairing": "frozen", "source": "A"},
            "seed": 0,
            "budget": "quick",
            "ancestors": [],
            "metric_version": METRIC_VERSION,
            "supervision": "none",
            **changes,
        }
    )


def pairs_of(spread: float, noise: int) -> Pairs:
    """Estimates that leave a share ``spread`` of the displacement, alike within an image; -1: do nothing."""
    truth = np.random.RandomState(0).randint(-32, 33, (IMAGES * EACH, 4, 2)).astype(float)
    image = np.repeat(np.arange(IMAGES), EACH)
    if spread < 0:
        return Pairs.of(truth, np.zeros_like(truth), np.ones(len(truth)), image)
    stream = np.random.RandomState(noise)
    left = spread * (1 + 0.2 * stream.standard_normal(IMAGES))[image] + 0.01 * stream.standard_normal(len(image))
    ok = stream.random_sample(len(image)) > 0.02
    return Pairs.of(truth, truth * (1 - left[:, None, None]), ok, image)


def save_run(folder: Path, identity: Identity, pairs: Pairs | None, reason: str | None = None) -> Path:
    """A run directory as the experiment writes it."""
    run_id = run_id_of(identity)
    run = folder / run_id
    if pairs is None:
        result = Result(run_id=run_id, status="failed", reason=reason, identity=identity)
    else:
        errors = pairs.errors
        result = Result(
            run_id=run_id,
            status="ok",
            verdict=verdict(errors.scored.mean(), errors.identity.mean()),
            identity=identity,
            metrics={name: Measure(**entry) for name, entry in summarise(errors).items()},
            timing={"register_ms": 12.34, "device": "cpu"},
            training={"parameters": 850_000, "seconds": 90.0} if identity.strategy else {"parameters": 0},
            provenance={"cpu": {"model": "Test CPU"}, "gpu": [{"name": "unused"}]},
        )
        write_pairs(run / "pairs.h5", pairs)
    write_result(run / "result.json", result)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Identity, a control, a method with three seeds and one with one, a supervised, a failed, two stale runs."""
    folder = tmp_path_factory.mktemp("runs")
    colreg = {"translator": component("mimgcd"), "strategy": component("colreg", rounds=3, steps=100)}
    single = {**colreg, "strategy": component("colreg", rounds=1, steps=100)}
    control = {"strategy": component("self-supervised")}
    supervised = {"strategy": component("supervised"), "supervision": "homography"}
    other = {"test_dataset": {"name": "synthetic", "manifest_sha256": "c" * 64}}
    return [
        save_run(folder, identity_of("identity", train_dataset=None), pairs_of(-1, 0)),
        save_run(folder, identity_of("mcnet", **control), pairs_of(0.95, 1)),
        *(save_run(folder, identity_of("mcnet", **colreg, seed=s), pairs_of(0.30, 2 + s)) for s in range(3)),
        save_run(folder, identity_of("mcnet", **single), pairs_of(0.305, 5)),
        save_run(folder, identity_of("mcnet", **supervised), pairs_of(0.10, 6)),
        save_run(folder, identity_of("dhn", **colreg), None, "loss of T|R is nan, see /home/someone/run/log.jsonl"),
        save_run(folder, identity_of("ihn", **colreg, **other), pairs_of(0.2, 7)),
        save_run(folder, identity_of("ihn", **{**colreg, "metric_version": 99}), pairs_of(0.2, 8)),
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory, runs) -> Path:
    made = tmp_path_factory.mktemp("board")
    leaderboard.add(made, "demo", runs, failed=True)
    folder = made / "results" / "demo"
    (folder / "board.toml").write_text(
        'title = "Demo_board"\ndescription = "Synthetic results."\nnotes = ["Made by a test."]\n'
    )
    (folder / "reported.csv").write_text(
        "paper,table,dataset,method,category,metric,value\n"
        "colreg,2,GoogleEarth,MCNet,supervised,AUC@20,96.97\n"
        "colreg,2,GoogleEarth,MCNet,supervised,MACE,0.61\n"
        "sshnet,5,OPT-SAR,SCPNet,unsupervised,MACE,NC\n"
    )
    return made


@pytest.fixture
def root(tmp_path, template) -> Path:
    return shutil.copytree(template, tmp_path / "leaderboards")


def test_golden_page(root):
    text = leaderboard.render(root, "demo")
    if os.environ.get("REGBENCH_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_build_is_idempotent_and_check_agrees(root):
    assert leaderboard.build(root) == [root / "demo.md"]
    assert leaderboard.build(root) == []
    assert leaderboard.check(root) == []


def test_order_of_files_and_place_do_not_matter(root, runs, tmp_path):
    again = tmp_path / "elsewhere"
    leaderboard.add(again, "demo", runs[::-1], failed=True)
    for name in ("board.toml", "reported.csv"):
        shutil.copy(root / "results" / "demo" / name, again / "results" / "demo" / name)
    assert leaderboard.render(again, "demo") == leaderboard.render(root, "demo")


def test_page_says_what_it_must(root):
    text = leaderboard.render(root, "demo")
    assert "Controls present: identity, no-translator control, supervised reference; missing: none." in text
    assert "colreg (rounds=1)" in text
    assert "steps=" not in text  # a setting all rows share says nothing
    assert r"T\|R" in text
    assert "/home" not in text
    assert "1 (fewer than 3)" in text
    assert "## Stale" in text
    assert "## Reported" in text
    assert str(root) not in text


def test_combinations_of_no_paper_are_named(root, an_ok_run):
    assert "no paper" not in leaderboard.render(root, "demo")
    change(an_ok_run, lambda record: record["training"].update(of_no_paper=True))
    text = leaderboard.render(root, "demo")
    (line,) = [line for line in text.splitlines() if line.startswith("Combinations of no paper: rows ")]
    number = line.removeprefix("Combinations of no paper: rows ").removesuffix(".")
    name = json.loads(an_ok_run.read_text())["identity"]["registrator"]["name"]
    assert any(row.startswith(f"| {number} ") and name in row for row in text.splitlines())


def test_claims_are_supported(root):
    """The best row is separated from all; the two alike are not, and share a rank."""
    text = leaderboard.render(root, "demo")
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| ")]
    ranks = {cell[1]: cell[2] for cell in cells if cell[1] in ("1", "2", "3")}
    assert ranks == {"1": "1", "2": "2", "3": "2"}
    assert "- row 1 is better than row 2 by" in text
    assert "row 2 and row 3" in text.partition("Not separated")[2]
    assert "row 2 is better than row 3" not in text


def change(path: Path, edit) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    write_json(path, raw)


@pytest.fixture
def an_ok_run(root, runs) -> Path:
    return root / "results" / "demo" / f"{runs[2].name}.json"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda raw: raw["metrics"]["mace"].update(value=raw["metrics"]["mace"]["value"] - 1e-6),
            "mace is not what",
        ),
        (lambda raw: raw["metrics"]["auc@5"].update(ci95=[0.0, 1.0]), "auc@5 is not what"),
        (lambda raw: raw["metrics"]["mace"].update(ci95=None), "mace is not what"),
        (lambda raw: raw["metrics"].pop("identity_mace"), "identity_mace is not what"),
        (lambda raw: raw.update(verdict="diverged"), "verdict"),
        (lambda raw: raw["identity"].update(seed=77), "not the hash of the identity"),
    ],
)
def test_check_finds_tampered_results(root, an_ok_run, edit, message):
    change(an_ok_run, edit)
    assert message in "\n".join(leaderboard.check(root))


def test_check_finds_edited_errors(root, an_ok_run):
    with h5py.File(an_ok_run.with_suffix(".pairs.h5"), "a") as file:
        file["error"][...] = file["error"][()] / 2
    assert "do not follow from the displacements" in "\n".join(leaderboard.check(root))


def test_check_finds_renamed_and_left_over_files(root, an_ok_run):
    an_ok_run.rename(an_ok_run.with_name("0123456789ab.json"))
    found = "\n".join(leaderboard.check(root))
    assert f"rename it to {an_ok_run.name}" in found
    assert "belongs to no result" in found


def test_check_finds_drift_and_prints_it(root):
    leaderboard.build(root)
    page = root / "demo.md"
    page.write_text(page.read_text().replace("Synthetic results.", "The best results."))
    found = leaderboard.check(root)
    assert "-The best results." in found
    assert "+Synthetic results." in found


def test_runs_that_claim_one_manifest_must_hold_its_pairs(root, an_ok_run):
    with h5py.File(an_ok_run.with_suffix(".pairs.h5"), "a") as file:
        file["image"][...] = file["image"][()][::-1]
    with pytest.raises(DataError, match="different pairs"):
        leaderboard.build(root)


def test_settings_choose_the_manifest(root):
    (root / "results" / "demo" / "board.toml").write_text(f'manifest_sha256 = ["{"c" * 64}"]\n')
    text = leaderboard.render(root, "demo")
    assert "`cccccccccccc`" in text
    assert text.count("| another test manifest") == 8


@pytest.mark.parametrize("content", ["title = [", "surprise = 1\n"])
def test_broken_settings(root, content):
    (root / "results" / "demo" / "board.toml").write_text(content)
    with pytest.raises(DataError, match="not a board description"):
        leaderboard.render(root, "demo")


def test_add_refuses_what_is_not_ok(tmp_path, runs):
    failed = next(run for run in runs if not (run / "pairs.h5").exists())
    with pytest.raises(UsageError, match="--failed"):
        leaderboard.add(tmp_path, "demo", [failed])
    assert leaderboard.add(tmp_path, "demo", [runs[0]])[0].name == f"{runs[0].name}.json"


def test_empty_board(tmp_path):
    (tmp_path / "results" / "new").mkdir(parents=True)
    assert "No results yet." in leaderboard.render(tmp_path, "new")


def test_command_line(root):
    run = CliRunner().invoke
    at = ["--root", str(root)]
    assert "wrote" in run(command, ["build", *at]).output
    assert run(command, ["build", *at, "demo"]).output == "up to date\n"
    assert run(command, ["check", *at]).output == "up to date\n"
    (root / "demo.md").write_text("old\n")
    result = run(command, ["check", *at])
    assert isinstance(result.exception, RegbenchError)
    assert result.exception.exit_code == 1
    assert "-old" in result.output
    unknown = run(command, ["build", *at, "dmeo"]).exception
    assert isinstance(unknown, UsageError)
    assert "did you mean 'demo'" in str(unknown)


def test_export(root, tmp_path):
    run = CliRunner().invoke
    lines = list(csv.DictReader(io.StringIO(run(command, ["export", "--format", "csv", "--root", str(root)]).output)))
    assert len(lines) == 6
    assert float(lines[0]["mace"]) < float(lines[1]["mace"])
    assert lines[-1]["verdict"].startswith("failed")
    out = tmp_path / "board.tex"
    assert run(command, ["export", "--format", "latex", "--root", str(root), "--out", str(out)]).exit_code == 0
    assert r"\toprule" in out.read_text()


def test_seed_interval_by_hand():
    assert seed_interval([1.0, 2.0]) is None
    assert seed_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))


def test_text_of_others_cannot_break_a_table():
    assert tables.escape("a|b\n<script>*x*") == r"a\|b \<script\>\*x\*"
    assert tables.number(-0.001) == "0.00"
    assert tables.number(None) == "–"
