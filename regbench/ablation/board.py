"""A grid as a leaderboard: its runs, those that failed too, and what was left out and why."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from regbench.ablation.cells import Cell, recorded_run
from regbench.ablation.recipe import Recipe
from regbench.errors import DataError
from regbench.report import leaderboard
from regbench.report.board import Settings, write_settings
from regbench.results.store import load_result
from regbench.settings import budget_of


def bring_papers(recipe: Recipe, beside: Path, boards: Path) -> None:
    """Copy the numbers papers print to where a board looks for them, unless they are there.

    Args:
        recipe: names the papers.
        beside: folder of the recipe's file, which holds a folder for each of them.
        boards: folder of the leaderboards.

    Raises:
        DataError: a paper's folder is in neither place.
    """
    for paper in recipe.papers:
        source, target = beside / paper, boards / "recipes" / paper
        if target.exists():
            continue
        if not source.is_dir():
            raise DataError(f"{source} does not exist; put {paper}'s paper.csv and paper.toml there, or drop the paper")
        shutil.copytree(source, target)


def write_board(recipe: Recipe, cells: Sequence[Cell], out: Path, boards: Path) -> Path:
    """Add every run of a grid to the board of its recipe and build the page.

    Args:
        recipe: what was asked for; the board is called after it and its budget, and entitled by the data too.
        cells: all cells, those that were skipped too: the board says why.
        out: folder of the grid.
        boards: folder of the leaderboards.

    Returns:
        The page.

    Raises:
        DataError: a run's file is broken.
        UsageError: a run was not judged with exact labels.
    """
    name = recipe.grid_name
    runs = [recorded_run(out / cell.name) for cell in cells if cell.reason is None]
    leaderboard.add(boards, name, [run for run in runs if run is not None], failed=True)
    left_out = sorted(
        {f"{cell.row.name} on {cell.dataset} was not run: {cell.reason}" for cell in cells if cell.reason}
    )
    folder = boards / "results" / name
    data = sorted({load_result(path, committed=True).identity.test_dataset.name for path in folder.glob("*.json")})
    settings = Settings(
        title=f"{recipe.title} ({', '.join([f'{recipe.budget} budget', *data])})",
        description=f"{recipe.description} Budget {recipe.budget}: {budget_of(recipe.budget).summary}.".strip(),
        notes=[*recipe.notes, *left_out],
        papers=list(recipe.papers),
    )
    write_settings(folder, settings)
    leaderboard.build(boards, [name])
    return boards / f"{name}.md"
