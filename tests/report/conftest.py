from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from regbench.report import leaderboard
from tests.report.made_up import MANIFEST, PAPER, PAPER_NAMES, made_up_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> list[Path]:
    """The directories of the made-up runs."""
    folder = tmp_path_factory.mktemp("runs")
    return [folder / result.run_id for result in made_up_runs(folder)]


@pytest.fixture(scope="session")
def template(tmp_path_factory, runs) -> Path:
    """The board ``demo`` of these runs, with a paper's numbers; not to be changed."""
    made = tmp_path_factory.mktemp("board")
    leaderboard.add(made, "demo", runs, failed=True)
    (made / "results" / "demo" / "board.toml").write_text(
        'title = "Demo_board"\ndescription = "Synthetic results."\nnotes = ["Made by a test."]\npapers = ["demo"]\n'
        f'manifest_sha256 = ["{MANIFEST}"]\n'
    )
    (made / "recipes" / "demo").mkdir(parents=True)
    (made / "recipes" / "demo" / "paper.csv").write_text(PAPER)
    (made / "recipes" / "demo" / "paper.toml").write_text(PAPER_NAMES)
    return made


@pytest.fixture(scope="session")
def page(template) -> str:
    """Its markdown."""
    return leaderboard.render(template, "demo")


@pytest.fixture
def root(tmp_path, template) -> Path:
    """A copy of the board."""
    return shutil.copytree(template, tmp_path / "leaderboards")


@pytest.fixture
def an_ok_run(root, runs) -> Path:
    """The record of a run of ``root`` that is ok."""
    return root / "results" / "demo" / f"{runs[2].name}.json"
