"""Boards are a pure function of committed results, and false results do not pass.

To renew the golden pages after a wanted change: ``REGBENCH_GOLDEN=write pytest tests/report``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.leaderboard import command
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.metrics import summarise, verdict
from regbench.plugins.registry import registry
from regbench.report import leaderboard
from regbench.report.board import load_board
from regbench.report.ranking import rank_rows, seed_interval
from regbench.report.render.tables import comma_separated, escape, latex_comment
from regbench.report.table import number, range_in_words
from regbench.results import Pairs, load_result, read_pairs, write_json, write_pairs
from regbench.results.schema import run_id_of
from tests.report.made_up import (
    OTHER_MANIFEST,
    OTHER_PACK,
    component,
    identity_of,
    pairs_of,
    require_golden,
    save_run,
    student_of,
)


def test_golden_page(page):
    require_golden("leaderboard.md", page)


@pytest.mark.parametrize(("form", "name"), [("csv", "leaderboard.csv"), ("latex", "leaderboard.tex")])
def test_golden_exports(template, form, name):
    require_golden(name, leaderboard.export(template, [], form))


def test_build_is_idempotent_and_check_agrees(root):
    assert leaderboard.build(root) == [root / "demo.md"]
    assert leaderboard.build(root) == []
    assert leaderboard.check(root) == []


def test_order_of_files_and_place_do_not_matter(template, page, runs, tmp_path):
    again = tmp_path / "elsewhere"
    leaderboard.add(again, "demo", runs[::-1], failed=True)
    shutil.copy(template / "results" / "demo" / "board.toml", again / "results" / "demo" / "board.toml")
    shutil.copytree(template / "recipes", again / "recipes")
    assert leaderboard.render(again, "demo") == page


def test_page_says_what_it_must(template, page):
    assert "Incomplete" not in page
    assert "colreg (rounds=1)" in page
    assert "steps=" not in page  # a setting all rows share says nothing
    assert r"T\|R" in page
    assert "/home" not in page
    assert "1 (fewer than 3)" in page
    assert "1.2 GB RAM" in page
    assert "aligned or collapsed" in page  # 0.93 [0.85, 1.01] of identity: the interval reaches both
    assert "## Stale" in page
    assert str(template) not in page


@pytest.mark.parametrize(
    ("keep", "lacks"),
    [
        (lambda i: i.registrator.name != "identity", "identity (doing nothing)"),
        (lambda i: not (i.strategy and i.strategy.name == "self-supervised"), "no-translator control"),
        (lambda i: i.supervision == "none", "supervised reference"),
    ],
)
def test_a_board_without_a_control_says_so_at_the_top(root, keep, lacks):
    for path in (root / "results" / "demo").glob("*.json"):
        if not keep(load_result(path).identity):
            path.unlink()
    text = leaderboard.render(root, "demo")
    top = text.partition("## ")[0]
    assert "**Incomplete.**" in top
    assert f"lacks {lacks};" in top
    assert f"% lacks {lacks}" in leaderboard.export(root, [], "latex")


def test_a_board_that_names_its_controls_says_which_are_missing(root, template):
    named = ["identity", "sift", "copy-target", "contrast-randomised", "self-supervised", "supervised"]
    settings = root / "results" / "demo" / "board.toml"
    settings.write_text(settings.read_text() + f"controls = {json.dumps(named)}\n")
    top = leaderboard.render(root, "demo").partition("## ")[0]
    assert "lacks sift, copy-target, contrast-randomised;" in top
    assert "% lacks copy-target" in leaderboard.export(root, [], "latex")
    saved = [
        save_run(root / "runs", identity_of("sift", train_dataset=None), pairs_of(-1, 0)),
        save_run(root / "runs", identity_of("sift", strategy=component("contrast-randomised")), None, "failed"),
        save_run(root / "runs", identity_of(
            "mcnet", translator=component("copy-target"), strategy=component("colreg")
        ), pairs_of(0.4, 30)),
    ]  # fmt: skip
    leaderboard.add(root, "demo", [root / "runs" / run.run_id for run in saved], failed=True)
    top = leaderboard.render(root, "demo").partition("## ")[0]
    assert "lacks contrast-randomised;" in top, "a failed run is no control"


def test_what_was_seen_in_training_is_shown_where_a_row_counted_it(root, page):
    heads = [cell.strip() for cell in next(line for line in page.splitlines() if "× identity |" in line).split("|")]
    cells = {heads.index(head): head for head in ("pairs seen (R)", "images seen (T)", "train s")}
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("|   ")]
    shown = {row[5]: [row[place] for place in cells] for row in rows if len(row) == len(heads)}
    assert shown["supervised"] == ["64000", "0", "90"]
    assert shown["colreg (rounds=3)"] == ["64000", "5000", "90"]
    assert shown["sshnet-d"] == ["–", "–", "90"]
    for path in (root / "results" / "demo").glob("*.json"):
        record = json.loads(path.read_text())
        for name in ("pairs_seen", "images_seen"):
            record.get("training", {}).pop(name, None)
        path.write_text(json.dumps(record))
    assert "seen (" not in leaderboard.render(root, "demo"), "boards of earlier runs have no empty columns"


def test_a_board_is_the_same_where_its_plugins_are_not_installed(root, monkeypatch):
    here = leaderboard.render(root, "demo")
    monkeypatch.setenv("REGBENCH_LOAD_PLUGINS", "")
    registry.cache_clear()
    try:
        assert registry().find("registrator", "mcnet") is None
        assert leaderboard.render(root, "demo") == here
    finally:
        registry.cache_clear()


def places(page: str) -> dict[str, str]:
    """Rank by row number, of the main table."""
    table = page.partition("| verdict")[2].partition("Over seeds")[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("| ")]
    return {cell[1]: cell[2] for cell in cells}


def test_claims_are_supported(page):
    """The best row is separated from all; the two alike are not, and share a rank."""
    assert places(page) == {"1": "1", "2": "2", "3": "2", "4": "4", "5": "5", "6": "5", "7": "–"}
    assert "- row 1 is better than row 2 by" in page
    assert "row 2 and row 3" in page.partition("Not separated")[2]
    assert "row 2 is better than row 3" not in page


def test_no_sentence_claims_what_its_interval_does_not(template):
    """Every pair of rows a page orders has an interval of the difference without zero, also as printed."""
    (rows,) = load_board(template / "results" / "demo").sections.values()
    ranking = rank_rows(rows)
    assert ranking.better
    for (i, j), (low, high) in ranking.better.items():
        difference = ranking.rows[j].row.pair_scores["mace"] - ranking.rows[i].row.pair_scores["mace"]
        assert 0 < low < difference.mean() < high
        printed = [float(bound) for bound in range_in_words((low, high)).split(" to ")]
        assert printed[0] > 0
    assert range_in_words((0.0004, 1.25)) == "0.0004 to 1.25"


def board_of(folder: Path, *runs: tuple[str, Pairs]) -> Path:
    saved = [save_run(folder, identity_of(name), pairs) for name, pairs in runs]
    leaderboard.add(folder / "boards", "demo", [folder / result.run_id for result in saved])
    return folder / "boards"


def of_images(pairs: Pairs, count: int) -> Pairs:
    """The same pairs, said to come from ``count`` images."""
    return Pairs.of(pairs.displacement, pairs.estimate, pairs.ok, np.arange(len(pairs.ok)) % count)


def test_few_images_order_nothing_and_the_page_says_why(tmp_path):
    """Ten times apart, but of 27 images: no bracket, no rank, no order, no verdict."""
    root = board_of(tmp_path, ("identity", of_images(pairs_of(-1, 0), 27)), ("mcnet", of_images(pairs_of(0.1, 1), 27)))
    text = leaderboard.render(root, "demo").partition("## synthetic")[2]
    assert "No interval is given and no order claimed: 27 independent images" in text
    assert "better" not in text
    assert "[" not in text
    assert set(places("| verdict" + text.partition("| verdict")[2]).values()) == {"–"}
    assert "| open " in text


def test_a_row_that_one_image_decides_is_not_ordered(tmp_path):
    """One image at 400 px: its mean is the worst by far, and nothing is known of other images."""
    pairs = pairs_of(0.10, 1)
    estimate = pairs.estimate.copy()
    estimate[pairs.image == 5] += 300
    wild = Pairs.of(pairs.displacement, estimate, pairs.ok, pairs.image)
    root = board_of(tmp_path, ("mcnet", pairs_of(0.12, 2)), ("sift", wild))
    text = leaderboard.render(root, "demo")
    assert "row 2: one image makes up four fifths of the variance of its MACE, so no interval is given." in text
    assert "Not separated: row 1 and row 2." in text
    assert "is better than" not in text


def test_a_lead_that_unseen_failures_would_take_is_not_claimed(tmp_path):
    """A lead of 0.3 px that every image shows; doing nothing on 9 % of images costs the better row 1.3 px."""
    pairs = pairs_of(0.40, 1)
    nearer = pairs.estimate + 0.03 * (pairs.displacement - pairs.estimate)
    better = Pairs.of(pairs.displacement, nearer, pairs.ok, pairs.image)
    text = leaderboard.render(board_of(tmp_path, ("mcnet", pairs), ("mhn", better)), "demo")
    assert "A kind of failure on up to 9 % of images may be unseen." in text
    assert "is better than" not in text
    far = Pairs.of(
        pairs.displacement, pairs.estimate + 0.5 * (pairs.displacement - pairs.estimate), pairs.ok, pairs.image
    )
    text = leaderboard.render(board_of(tmp_path / "far", ("mcnet", pairs), ("mhn", far)), "demo")
    assert "row 1 is better than row 2" in text


def test_rows_over_seeds_of_ancestors_are_one(template):
    """Three students of three teachers that differ in their seed: one row, with an interval over seeds."""
    (rows,) = load_board(template / "results" / "demo").sections.values()
    (students,) = [row for row in rows if row.identity.strategy and row.identity.strategy.name == "sshnet-d"]
    assert len({run.result.identity.ancestors[0] for run in students.runs}) == 3
    assert [run.result.identity.seed for run in students.finished] == [0, 1, 2]


def test_students_of_other_teachers_are_other_rows(root, tmp_path):
    """Another teacher, or one nothing is known of, is not another seed; the page tells them apart."""
    other = save_run(tmp_path, identity_of("mhn", strategy=component("supervised"), supervision="homography"),
                     pairs_of(0.2, 30))  # fmt: skip
    taught = student_of(other, 3).model_copy(update={"supervision": "homography"})
    unknown = student_of(other, 4)
    saved = [
        save_run(tmp_path, taught, pairs_of(0.5, 31), teachers=[other]),
        save_run(tmp_path, unknown, pairs_of(0.5, 32)),
    ]
    leaderboard.add(root, "demo", [tmp_path / result.run_id for result in saved])
    table = leaderboard.render(root, "demo").partition("Over seeds")[0]
    trained = {line.split("|")[9].strip() for line in table.splitlines() if "| ihn1 " in line}
    assert trained == {
        "synthetic from mimgcd × mcnet × colreg",
        "synthetic from mhn × supervised",
        f"synthetic from {other.run_id}",
    }


def test_rows_nothing_else_tells_apart_get_a_mark(root, tmp_path):
    """Training data of one name and two contents."""
    single = {"translator": component("mimgcd"), "strategy": component("colreg", rounds=1, steps=100)}
    data = {"name": "synthetic", "pack_sha256": "d" * 64}
    again = save_run(tmp_path, identity_of("mcnet", **single, train_dataset=data), pairs_of(0.305, 40))
    leaderboard.add(root, "demo", [tmp_path / again.run_id])
    lines = [line for line in leaderboard.render(root, "demo").splitlines() if "(rounds=1)" in line]
    trained = {line.split("|")[9].strip() for line in lines if "frozen" in line}
    assert len(trained) == 2
    assert all(text.startswith("synthetic (") for text in trained)


def change(path: Path, edit) -> None:
    raw = json.loads(path.read_text())
    edit(raw)
    write_json(path, raw)


@pytest.fixture
def an_ok_run(root, runs) -> Path:
    return root / "results" / "demo" / f"{runs[2].name}.json"


def test_combinations_of_no_paper_are_named(root, an_ok_run):
    assert "no paper" not in leaderboard.render(root, "demo")
    change(an_ok_run, lambda record: record["training"].update(of_no_paper=True))
    text = leaderboard.render(root, "demo")
    (line,) = [line for line in text.splitlines() if line.startswith("Of combinations no paper reports: row ")]
    number = line.removeprefix("Of combinations no paper reports: row ").removesuffix(".")
    (ranking,) = (rank_rows(rows) for rows in load_board(root / "results" / "demo").sections.values())
    row = ranking.rows[int(number) - 1].row
    assert an_ok_run.stem in {entry.result.run_id for entry in row.runs}


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
    raw["run_id"] = run_id_of(raw["identity"])
    moved = an_ok_run.rename(an_ok_run.with_name(f"{raw['run_id']}.json"))
    pairs = read_pairs(an_ok_run.with_suffix(".pairs.h5"))
    an_ok_run.with_suffix(".pairs.h5").unlink()
    write_pairs(moved.with_suffix(".pairs.h5"), pairs, {"run_id": moved.stem})
    write_json(moved, raw)
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


def test_which_commit_made_which_rows(root):
    text = leaderboard.render(root, "demo")
    assert "\nCode: 1234567890 (rows 1, 2, 3, 4, 5, 6).\n" in text
    (path,) = [
        p for p in (root / "results/demo").glob("*.json") if load_result(p).identity.registrator.name == "identity"
    ]
    change(path, lambda raw: raw["provenance"]["git"].update(commit="f" * 40, dirty=True))
    assert "\nCode: 1234567890 (rows 1, 2, 3, 4, 5); ffffffffff with changes (rows 6).\n" in leaderboard.render(
        root, "demo"
    )


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
    assert len(lines) == 7
    assert float(lines[0]["mace"]) < float(lines[1]["mace"])
    assert float(lines[1]["auc@20_low"]) < float(lines[1]["auc@20"]) < float(lines[1]["auc@20_high"])
    assert lines[0]["reported"].startswith("MACE 0.61 (Somebody 2025, table 2: Reference); MACE 0.5 (Other")
    assert lines[-1]["verdict"].startswith("failed")
    out = tmp_path / "board.tex"
    assert run(command, ["export", "--format", "latex", "--root", str(root), "--out", str(out)]).exit_code == 0
    assert r"\toprule" in out.read_text()


def test_seed_interval_by_hand():
    assert seed_interval([1.0, 2.0]) is None
    assert seed_interval([11.0, 12.0, 13.0]) == pytest.approx((12 - 4.302653 / 3**0.5, 12 + 4.302653 / 3**0.5))
    assert seed_interval([1.0, 2.0, 3.0]) == pytest.approx((0.0, 2 + 4.302653 / 3**0.5))
    assert seed_interval([98.0, 99.0, 100.0], 100.0) == pytest.approx((99 - 4.302653 / 3**0.5, 100.0))


def test_text_of_others_cannot_break_a_table():
    assert escape("a|b\n<script>*x*") == r"a\|b \<script\>\*x\*"
    assert number(-0.001) == "0.00"
    assert number(None) == "–"


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


def test_a_spreadsheet_runs_no_cell():
    rows = [["=cmd|'/C calc'!A0", "+1", "-1", "@x", "\t=1", "a=b", -1.5, 7, None, "x\x1b[2Jy\nz"]]
    (line,) = list(csv.reader(io.StringIO(comma_separated(["c"] * 10, rows))))[1:]
    assert line == ["'=cmd|'/C calc'!A0", "'+1", "'-1", "'@x", "'=1", "a=b", "-1.5", "7", "", "x\\x1b[2Jy z"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b", "\x0c"])
def test_no_text_ends_a_comment_of_latex(end):
    text = latex_comment(f"data{end}\\input{{/etc/passwd}}")
    assert len(text.splitlines()) == 1
    assert text.startswith("% data")


def test_failures_found_by_confidence(template, page, tmp_path):
    """A table of the rows that have confidences, and none on a board without; the numbers are checked, too."""
    assert "Failures found" not in page
    root = shutil.copytree(template, tmp_path / "boards")
    pairs = pairs_of(0.3, 90)
    confidence = (1 / (1 + pairs.error)).astype(np.float32)
    confidence[~pairs.ok] = 0
    other = identity_of("ihn", seed=0)
    result = save_run(tmp_path, other, dataclasses.replace(pairs, confidence=confidence))
    leaderboard.add(root, "demo", [tmp_path / result.run_id])
    leaderboard.build(root)
    assert leaderboard.check(root) == []
    text = leaderboard.render(root, "demo")
    head, _, *rows = text[text.index("Failures found by confidence") :].split("\n\n")[1].split("\n")
    assert [cell.strip() for cell in head.strip("|").split("|")][2:] == [
        *(f"MACE of {n} %" for n in (100, 80, 60, 40, 20)),
        *("AURC", "above best order", "trusted %", "MACE of trusted"),
    ]
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert cells[2] == number(result.metrics["mace"].value)
    assert cells[7].startswith(number(result.metrics["aurc"].value) + " [")
    risk = [float(cell) for cell in cells[2:7]]
    assert risk == sorted(risk, reverse=True)
    assert "failures found by confidence" in leaderboard.export(root, ["demo"], "latex")
    leaderboard.write_html(root, ["demo"], tmp_path / "html", pictures=False)
    assert "<h3>Failures found by confidence</h3>" in (tmp_path / "html" / "demo.html").read_text()
    stored = root / "results" / "demo" / f"{result.run_id}.pairs.h5"
    write_pairs(stored, dataclasses.replace(pairs, confidence=confidence[::-1].copy()))
    assert any("aurc" in problem for problem in leaderboard.check(root))
