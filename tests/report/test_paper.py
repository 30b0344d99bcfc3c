"""Printed numbers: facts with their source, beside ours and never ranked."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from regbench.errors import DataError
from regbench.report import leaderboard
from regbench.report.printed import METRICS, load_paper, matches_method
from tests.report.made_up import PAPER, PAPER_NAMES, component, identity_of

RECIPES = Path(__file__).parents[2] / "leaderboards" / "recipes"
SUPERVISED = {"strategy": component("supervised"), "supervision": "homography"}
PROTOCOL = {"patch": 128, "rho": 32, "pairing": "frozen"}
GIVEN = identity_of("mcnet", **SUPERVISED, protocol=PROTOCOL | {"pairing": "given"})
AUGMENTED = identity_of("mcnet", **SUPERVISED, protocol=PROTOCOL | {"frozen_augment": "indep_homography"})


def test_numbers_stand_beside_ours_and_agreement_is_said_with_its_interval(page):
    lines = page.partition("### Reported")[2].splitlines()
    (ours,) = [line for line in lines if line.startswith("| Ours ") and "Somebody" in line]
    cells = [cell.strip() for cell in ours.split("|")][1:-1]
    assert cells == ["Ours", "unsupervised", "Somebody 2025", "2", "1.25", "–", "–", "–", "93.8", "98.24", "2",
                     "7.79 [7.39, 8.25]"]  # fmt: skip
    (never,) = [line for line in lines if line.startswith("| Never run ")]
    assert never.count("–") == 7
    assert "3.91" not in page  # another data set
    assert r"- Our order by MACE agrees with that of Somebody 2025, table 2: Kendall's tau-b 1.00" in page
    assert r"- No agreement or disagreement with the order of Other \| paper, table 5 is claimed" in page


def test_a_printed_number_never_has_a_rank(root):
    """The main table is the same without the paper."""
    with_paper = leaderboard.render(root, "demo")
    board = root / "results" / "demo" / "board.toml"
    board.write_text(board.read_text().replace('papers = ["demo"]', ""))
    without = leaderboard.render(root, "demo")
    assert without.partition("## Stale")[0] == with_paper.partition("### Reported")[0]


@pytest.mark.parametrize(
    ("identity", "pattern", "expected"),
    [
        (identity_of("mcnet", **SUPERVISED), {"registrator": "mcnet", "strategy": "supervised"}, True),
        (identity_of("mcnet", **SUPERVISED), {"registrator": "mcnet", "translator": ""}, True),
        (identity_of("mcnet", **SUPERVISED), {"registrator": "mcnet", "translator": "cut"}, False),
        (identity_of("mcnet", **SUPERVISED), {"registrator": "mcnet", "pairing": "online"}, False),
        (identity_of("mcnet", strategy=component("colreg", rounds=1)), {"strategy.rounds": 1}, True),
        (identity_of("mcnet", strategy=component("colreg", rounds=1)), {"strategy.rounds": 2}, False),
        (identity_of("sift", train_dataset=None), {"registrator": "sift", "strategy": ""}, True),
        (identity_of("mcnet", **SUPERVISED), {}, False),
        (identity_of("mcnet", **SUPERVISED), {"registrator": "mcnet", "trained_on": "googlemap"}, False),
        (identity_of("mcnet", **SUPERVISED), {"registrator": ["ihn", "mcnet"]}, True),
        (identity_of("mcnet", **SUPERVISED), {"registrator": ["ihn", "dhn"]}, False),
        (identity_of("mcnet", **SUPERVISED), {"pairing": ["frozen", "given"]}, True),
        (GIVEN, {"pairing": ["frozen", "given"]}, True),
        (GIVEN, {"pairing": "frozen"}, False),
        (GIVEN, {"pairing": {"synthetic": "given"}}, True),
        (GIVEN, {"pairing": {"synthetic": "frozen"}}, False),
        (GIVEN, {"registrator": "mcnet", "pairing": {"vedai": "frozen"}}, True),  # of another data set
        (AUGMENTED, {"registrator": "mcnet"}, False),
        (AUGMENTED, {"registrator": "mcnet", "frozen_augment": ["none", "indep_homography"]}, True),
        (AUGMENTED, {"registrator": "mcnet", "frozen_augment": {"synthetic": "indep_homography"}}, True),
        (AUGMENTED, {"registrator": "mcnet", "frozen_augment": {"vedai": "indep_homography"}}, False),
    ],
)
def test_what_a_printed_method_is_here(identity, pattern, expected):
    assert matches_method(identity, pattern) is expected


def test_a_run_on_data_it_was_not_trained_on_is_another_method():
    zero_shot = identity_of("mcnet", **SUPERVISED, train_dataset={"name": "googlemap", "pack_sha256": "b" * 64})
    assert not matches_method(zero_shot, {"registrator": "mcnet"})
    assert matches_method(zero_shot, {"registrator": "mcnet", "trained_on": "googlemap"})


def test_a_student_is_the_method_only_with_the_methods_teacher():
    pattern = {"strategy": "sshnet-d", "teacher.strategy": "sshnet", "teacher.translator": "swin-unet"}
    teachers = {
        "a" * 12: identity_of("ihn-lite", strategy=component("sshnet"), translator=component("swin-unet")),
        "b" * 12: identity_of("ihn-lite", strategy=component("sshnet"), translator=component("unet")),
    }
    lineage = {run: identity.model_dump(mode="json") for run, identity in teachers.items()}
    for run, expected in zip(teachers, (True, False), strict=True):
        student = identity_of("ihn-lite", strategy=component("sshnet-d"), ancestors=[run])
        assert matches_method(student, pattern, lineage) is expected
        assert not matches_method(student, pattern), "a teacher that is not known is not the method's"
    assert not matches_method(identity_of("ihn-lite", strategy=component("sshnet-d")), pattern, lineage)


def test_a_student_of_another_teacher_stands_beside_no_printed_number(root):
    names = root / "recipes" / "demo" / "paper.toml"
    student = 'Student = { translator = "", strategy = "sshnet-d"'
    assert student in PAPER_NAMES
    for teacher, beside in (("mimgcd", True), ("cut", False)):
        names.write_text(PAPER_NAMES.replace(student, f'{student}, "teacher.translator" = "{teacher}"'))
        (line,) = [line for line in leaderboard.render(root, "demo").splitlines() if line.startswith("| Student ")]
        assert (line.split("|")[-2].strip() != "–") is beside


@pytest.mark.parametrize(
    ("csv_text", "toml_text", "message"),
    [
        (PAPER.replace('"Somebody 2025",2,Scenes,Single', ",2,Scenes,Single"), PAPER_NAMES, "line 4: no source"),
        (PAPER.replace("AUC@20", "AUC@21"), PAPER_NAMES, "line 3: metric 'AUC@21'"),
        (PAPER, PAPER_NAMES.replace("strategy.rounds", "rounds"), "'rounds' is no part of a run"),
        (PAPER, PAPER_NAMES.replace('"strategy.rounds"', "strategy.rounds"), "does not say what the paper's names are"),
        (
            PAPER,
            PAPER_NAMES.replace('"sshnet-d"', '"sshnet-d", pairing.vedia = "given"'),
            "pairing.vedia: 'vedia' is no",
        ),
        (PAPER, PAPER_NAMES.replace('"sshnet-d"', '"sshnet-d", "teacher.x" = 1'), "'teacher.x' is no part of a run"),
        (PAPER, "[methods", "does not say what the paper's names are"),
        (PAPER, "surprise = 1", "does not say what the paper's names are"),
    ],
)
def test_broken_papers(root, csv_text, toml_text, message):
    (root / "recipes" / "demo" / "paper.csv").write_text(csv_text)
    (root / "recipes" / "demo" / "paper.toml").write_text(toml_text)
    with pytest.raises(DataError, match=message):
        leaderboard.render(root, "demo")


def test_a_board_may_only_name_papers_that_are_there(root):
    board = root / "results" / "demo" / "board.toml"
    board.write_text('papers = ["nowhere"]\n')
    with pytest.raises(DataError, match=r"nowhere.*cannot be read"):
        leaderboard.render(root, "demo")


@pytest.mark.parametrize("name", [path.name for path in sorted(RECIPES.iterdir()) if path.is_dir()])
def test_committed_papers_are_consistent(name):
    """What they print obeys the definitions of the metrics: AUC grows with the threshold, and MACE bounds it."""
    paper = load_paper(RECIPES / name)
    lines = [line for lines_of_dataset in paper.lines.values() for line in lines_of_dataset]
    assert lines
    for line in lines:
        assert line.source
        assert line.table
        values = [float(line.values[m]) for m in METRICS[1:5] if m in line.values]
        assert values == sorted(values), line
        known = line.mace() is not None and "AUC@20" in line.values
        if known and (line.method, line.mace()) != ("CUDHN", 15.08):  # printed so, and impossible
            assert float(line.values["AUC@20"]) >= 100 * (1 - line.mace() / 20) - 0.06, line
    printed = {row["method"] for row in csv.DictReader((RECIPES / name / "paper.csv").open(encoding="utf-8"))}
    assert set(paper.methods) <= printed
