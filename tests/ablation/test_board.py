"""What the board of an ablation shows besides its runs."""

from __future__ import annotations

import tomllib

import pytest

from regbench.ablation.board import add_cell, copy_papers, write_board
from regbench.ablation.cells import Cell
from regbench.ablation.recipe import Recipe, RecipeRow
from regbench.errors import DataError
from regbench.report import leaderboard
from tests.report.made_up import identity_of, pairs_of, save_run

ROW = RecipeRow(name='of "quotes" and ×', registrator="identity", budget="smoke")
RECIPE = Recipe(
    name="table", title="A table", budget="smoke", seeds=(0,), rows=(ROW,), papers=("paper",), notes=("a note",)
)


def test_papers_are_brought_once_and_missed_before_anything_runs(tmp_path):
    boards = tmp_path / "boards"
    with pytest.raises(DataError, match=r"recipes/paper does not exist"):
        copy_papers(RECIPE, tmp_path / "recipes", boards)
    (tmp_path / "recipes" / "paper").mkdir(parents=True)
    (tmp_path / "recipes" / "paper" / "paper.csv").write_text("first")
    copy_papers(RECIPE, tmp_path / "recipes", boards)
    (tmp_path / "recipes" / "paper" / "paper.csv").write_text("second")
    copy_papers(RECIPE, tmp_path / "recipes", boards)
    assert (boards / "recipes" / "paper" / "paper.csv").read_text() == "first", "what is there stays"


def test_a_board_says_what_was_left_out_and_why(tmp_path):
    skipped = Cell("cell", ROW, "vedai", ("run",), skip_reason="data set vedai is not here")
    recipe = RECIPE.model_copy(update={"papers": ()})
    (tmp_path / "boards" / "results" / "table-smoke").mkdir(parents=True)
    page = write_board(recipe, [skipped], tmp_path / "runs", tmp_path / "boards")
    assert page == tmp_path / "boards" / "table-smoke.md"
    told = tomllib.loads((tmp_path / "boards" / "results" / "table-smoke" / "board.toml").read_text())
    assert told["title"] == "A table (smoke budget)"
    assert told["description"].startswith("Budget smoke: ")
    assert told["notes"] == ["a note", 'of "quotes" and × on vedai was not run: data set vedai is not here']
    assert told["papers"] == []
    assert "was not run: data set vedai is not here" in page.read_text()


def test_a_run_that_is_on_the_board_builds_it_no_second_time(tmp_path, monkeypatch):
    cell = Cell("cell", ROW, "synthetic", ("evaluate",))
    run = tmp_path / "runs" / "cell"
    cell.record(tmp_path / "runs", "ok", run=save_run(run, identity_of("identity"), pairs_of(-1, 0)).run_id)
    recipe, built = RECIPE.model_copy(update={"papers": ()}), []
    build = leaderboard.build
    monkeypatch.setattr(leaderboard, "build", lambda root, names: built.append(names) or build(root, names))
    for _ in range(2):
        add_cell(recipe, cell, tmp_path / "runs", tmp_path / "boards", "mine")
    assert built == [["mine"]]
    assert "doing nothing" in (tmp_path / "boards" / "mine.md").read_text()


def test_of_a_paper_its_two_files_are_copied_and_nothing_else(tmp_path):
    paper = tmp_path / "recipes" / "paper"
    paper.mkdir(parents=True)
    for name in ("paper.csv", "paper.toml", "__init__.py", "evil.sh"):
        (paper / name).write_text(name)
    copy_papers(RECIPE, tmp_path / "recipes", tmp_path / "boards")
    assert sorted(p.name for p in (tmp_path / "boards" / "recipes" / "paper").iterdir()) == ["paper.csv", "paper.toml"]


@pytest.mark.parametrize("what", ["paper", "paper/paper.csv"])
def test_a_paper_that_is_a_link_is_refused(tmp_path, what):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "paper.csv").write_text("secret")
    (tmp_path / "recipes").mkdir()
    if what == "paper":
        (tmp_path / "recipes" / "paper").symlink_to(secret)
    else:
        (tmp_path / "recipes" / "paper").mkdir()
        (tmp_path / "recipes" / "paper" / "paper.csv").symlink_to(secret / "paper.csv")
    with pytest.raises(DataError, match="is a link"):
        copy_papers(RECIPE, tmp_path / "recipes", tmp_path / "boards")
    assert not (tmp_path / "boards").exists()
