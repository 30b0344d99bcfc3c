"""Boards are a pure function of committed results.

To renew the golden pages after a wanted change: ``REGBENCH_GOLDEN=write pytest tests/report``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.leaderboard import command
from regbench.errors import RegbenchError, UsageError
from regbench.plugins.registry import registry
from regbench.report import leaderboard
from regbench.report.board import load_board
from regbench.report.ranking import rank_rows
from regbench.report.table import number
from regbench.results import load_result, write_pairs
from tests.report.made_up import (
    change,
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


def test_combinations_of_no_paper_are_named(root, an_ok_run):
    assert "no paper" not in leaderboard.render(root, "demo")
    change(an_ok_run, lambda record: record["training"].update(of_no_paper=True))
    text = leaderboard.render(root, "demo")
    (line,) = [line for line in text.splitlines() if line.startswith("Of combinations no paper reports: row ")]
    number = line.removeprefix("Of combinations no paper reports: row ").removesuffix(".")
    (ranking,) = (rank_rows(rows) for rows in load_board(root / "results" / "demo").sections.values())
    row = ranking.rows[int(number) - 1].row
    assert an_ok_run.stem in {entry.result.run_id for entry in row.runs}


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
    chosen = run(command, ["export", "--format", "latex", "--columns", "method, MACE", "--root", str(root)])
    head, *rows = [line.split("&") for line in chosen.output.splitlines() if "&" in line][:7]
    assert [cell.strip(" \\") for cell in head] == ["method", "MACE"]
    assert ["textbf" in row[1] for row in rows] == [True, *[False] * 5], "the rows of rank 1, and no other"
    with pytest.raises(UsageError, match="unknown column 'MAC': did you mean 'MACE'"):
        run(command, ["export", "--format", "latex", "--columns", "MAC", "--root", str(root)], catch_exceptions=False)
    assert run(command, ["export", "--format", "latex", "--root", str(root), "--out", str(out)]).exit_code == 0
    assert r"\toprule" in out.read_text()


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
