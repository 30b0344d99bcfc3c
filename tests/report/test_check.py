"""False results do not pass: what `add` refuses, what `check` finds, what is set apart."""

from __future__ import annotations

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.leaderboard import command
from regbench.errors import DataError, UsageError
from regbench.metrics import summarise, verdict
from regbench.report import leaderboard
from regbench.results import load_result, read_pairs, write_pairs
from tests.report.made_up import (
    OTHER_MANIFEST,
    OTHER_PACK,
    change,
    component,
    identity_of,
    pairs_of,
    put_back,
    save_run,
    student_of,
)


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
    stored = an_ok_run.with_suffix(".pairs.h5")
    pairs = read_pairs(stored)
    write_pairs(stored, dataclasses.replace(pairs, error=pairs.error / 2))
    assert "do not follow from the displacements" in "\n".join(leaderboard.check(root))
    with h5py.File(stored, "a") as file:
        file["ok"][...] = True
    assert "is damaged or was edited" in "\n".join(leaderboard.check(root))


def test_check_finds_renamed_and_left_over_files(root, an_ok_run):
    an_ok_run.rename(an_ok_run.with_name("0123456789ab.json"))
    problems = "\n".join(leaderboard.check(root))
    assert f"rename it to {an_ok_run.name}" in problems
    assert "belongs to no result" in problems


def test_check_finds_drift_and_prints_it(root):
    leaderboard.build(root)
    page = root / "demo.md"
    page.write_text(page.read_text().replace("Synthetic results.", "The best results."))
    problems = leaderboard.check(root)
    assert "-The best results." in problems
    assert "+Synthetic results." in problems


def test_check_finds_pairs_that_are_not_the_manifests(root, an_ok_run):
    """Easier pairs under the name of the manifest: errors and metrics follow, but the set does not give such pairs."""
    stored = an_ok_run.with_suffix(".pairs.h5")
    pairs = read_pairs(stored)
    made = type(pairs).of(np.trunc(pairs.displacement / 2), pairs.estimate / 2, pairs.ok, pairs.image)
    write_pairs(stored, made)
    change(an_ok_run, lambda raw: raw.update(remade(made)))
    (problem,) = leaderboard.check(root)
    assert problem.startswith(f"{an_ok_run}: holds other test pairs than synthetic gives")
    with pytest.raises(DataError, match="evaluate what differs again"):
        leaderboard.build(root)


def remade(pairs) -> dict:
    """What a forger writes who recomputes everything."""
    errors = pairs.errors
    known = {"metrics": summarise(errors), "verdict": verdict(errors.scored.mean(), errors.identity.mean())}
    return known | {"pairs_sha256": pairs.sha256}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {
                "test_dataset": {"name": "synthetic", "manifest_sha256": OTHER_MANIFEST},
                "train_dataset": {"name": "synthetic", "pack_sha256": OTHER_PACK},
            },
            "another test manifest",
        ),
        ({"metric_version": 1}, "metric version 1: run leaderboard upgrade"),
    ],
)
def test_another_manifest_or_metric_is_set_apart(root, an_ok_run, changes, why):
    """Under an honest run id: the run is not ranked, and the page says why."""
    raw = json.loads(an_ok_run.read_text())
    raw["identity"] |= changes
    put_back(an_ok_run, raw)
    leaderboard.build(root)
    assert leaderboard.check(root) == []
    ranked, _, apart = (root / "demo.md").read_text().partition("## Stale")
    (line,) = [line for line in apart.splitlines() if raw["run_id"] in line]
    assert why in line
    assert "| 2 |" not in ranked.partition("Over seeds")[2].partition("Supported")[0]  # two seeds are left


def test_check_finds_hidden_supervision(root, tmp_path):
    """A student that says it saw no labels while its teacher did."""
    teacher = save_run(tmp_path, identity_of("mhn", strategy=component("supervised"), supervision="homography"),
                       pairs_of(0.2, 30))  # fmt: skip
    liar = save_run(tmp_path, student_of(teacher, 0), pairs_of(0.5, 31), teachers=[teacher])
    leaderboard.add(root, "demo", [tmp_path / liar.run_id])
    leaderboard.build(root)
    (problem,) = leaderboard.check(root)
    assert problem.endswith(f"says that nothing saw labels, but its ancestor {teacher.run_id} did; run it again")


def test_an_edited_ancestor_is_refused(root):
    path = next(p for p in sorted((root / "results" / "demo").glob("*.json")) if load_result(p).lineage)

    def edit(raw):
        (ancestor,) = raw["lineage"].values()
        ancestor["seed"] = 99

    change(path, edit)
    (problem,) = leaderboard.check(root)
    assert "is not the hash of the identity it is given" in problem


def test_settings_choose_the_manifest(root):
    (root / "results" / "demo" / "board.toml").write_text(f'manifest_sha256 = ["{OTHER_MANIFEST}"]\n')
    text = leaderboard.render(root, "demo")
    assert f"Test manifest {OTHER_MANIFEST[:12]}" in text
    assert text.count("| another test manifest") == 11


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


def test_other_numbers_under_one_id_are_refused(tmp_path, runs):
    """Whichever file they are in; nothing is written, also of the other runs. The same numbers may come again."""
    first, second = [run for run in runs if (run / "pairs.h5").exists()][:2]
    (target,) = leaderboard.add(tmp_path, "demo", [first])
    before = {path.name: path.read_bytes() for path in target.parent.iterdir()}
    again = shutil.copytree(first, tmp_path / "again")
    change(again / "result.json", lambda raw: raw["timing"].update(register_ms=99.0))
    leaderboard.add(tmp_path, "demo", [again])
    assert json.loads(target.read_text())["timing"]["register_ms"] == 99.0
    leaderboard.add(tmp_path, "demo", [first])
    pairs = read_pairs(again / "pairs.h5")
    write_pairs(again / "pairs.h5", dataclasses.replace(pairs, estimate=pairs.estimate + np.float32(1)))
    other_metric = shutil.copytree(first, tmp_path / "other_metric")
    change(other_metric / "result.json", lambda raw: raw["metrics"]["mace"].update(value=0.1))
    for run in (again, other_metric):
        with pytest.raises(DataError, match=r"holds other numbers under the id of .* add --replace"):
            leaderboard.add(tmp_path, "demo", [second, run])
        assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == before
        outcome = CliRunner().invoke(command, ["add", str(run), "--board", "demo", "--root", str(tmp_path)])
        assert isinstance(outcome.exception, DataError)
    CliRunner().invoke(command, ["add", str(again), "--board", "demo", "--root", str(tmp_path), "--replace"])
    assert (target.parent / f"{first.name}.pairs.h5").read_bytes() == (again / "pairs.h5").read_bytes()


@pytest.mark.parametrize("name", ["org/model", "../x", ".hidden", "", "..", "a\\b", "a\nb"])
def test_a_board_has_the_name_of_one_folder(tmp_path, runs, name):
    with pytest.raises(UsageError, match="a board's name is one plain folder name"):
        leaderboard.add(tmp_path / "boards", name, runs[:1])
    assert not (tmp_path / "boards").exists()


def test_a_board_description_of_another_encoding_is_told(root):
    path = root / "results" / "demo" / "board.toml"
    path.write_bytes("title = 'Tränen'\n".encode("utf-8-sig"))
    assert "Tränen" in leaderboard.render(root, "demo")
    path.write_bytes("title = 'Tränen'\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"board\.toml is not UTF-8 \(.* at byte 11\); save it as UTF-8"):
        leaderboard.render(root, "demo")
