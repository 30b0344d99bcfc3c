"""The board of an ablation: finished runs, failed runs, and which cells were skipped and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regbench.ablation.cells import Cell, recorded_run
from regbench.ablation.recipe import Recipe
from regbench.contained import refuse_link, refuse_links, safe_name
from regbench.errors import DataError
from regbench.report import leaderboard
from regbench.report.board import BoardSettings, write_settings
from regbench.report.printed import PAPER_FILES
from regbench.results.store import load_result, write_bytes
from regbench.settings import budget_of


def copy_papers(recipe: Recipe, recipe_folder: Path, boards: Path) -> None:
    """Copy the numbers printed in papers to where the board reads them, unless they are there; nothing else is copied.

    Args:
        recipe: names the papers.
        recipe_folder: folder of the recipe's file; it holds a folder for each paper.
        boards: folder of the leaderboards.

    Raises:
        DataError: a paper's folder is in neither place, or holds a link.
    """
    for paper in recipe.papers:
        source, target = paper_folder(paper, recipe_folder, boards), boards / "recipes" / paper
        if source != target:
            for name in PAPER_FILES:
                if (source / name).is_file():
                    write_bytes(target / name, (source / name).read_bytes())


def paper_folder(paper: str, recipe_folder: Path, boards: Path) -> Path:
    """The folder of a paper's numbers: that of the boards where there is one, else that beside the recipe.

    Raises:
        DataError: there is neither, or it is a link or holds one.
        UsageError: the paper's name is a path.
    """
    beside = recipe_folder / safe_name(paper, "paper")
    for folder in (boards / "recipes" / paper, beside):
        if folder.exists():
            refuse_link(folder)
            refuse_links(folder)
            return folder
    raise DataError(f"{beside} does not exist; put {paper}'s paper.csv and paper.toml there, or drop the paper")


def write_board(recipe: Recipe, cells: Sequence[Cell], out: Path, boards: Path) -> Path:
    """Add every run of an ablation to its board and build the page.

    Args:
        recipe: names the board, together with its budget; the title also names the data sets.
        cells: all cells, skipped ones included: the board says why they were skipped.
        out: folder of the ablation.
        boards: folder of the leaderboards.

    Returns:
        The page.

    Raises:
        DataError: a run's file is broken.
        UsageError: a run was not judged with exact labels.
    """
    name = recipe.board_name
    runs = [recorded_run(out / cell.name) for cell in cells if cell.skip_reason is None]
    leaderboard.add(boards, name, [run for run in runs if run is not None], failed=True)
    skipped = sorted(
        {f"{cell.row.name} on {cell.dataset} was not run: {cell.skip_reason}" for cell in cells if cell.skip_reason}
    )
    folder = boards / "results" / name
    datasets = sorted({load_result(path, committed=True).identity.test_dataset.name for path in folder.glob("*.json")})
    settings = BoardSettings(
        title=f"{recipe.title} ({', '.join([f'{recipe.budget} budget', *datasets])})",
        description=f"{recipe.description} Budget {recipe.budget}: {budget_of(recipe.budget).summary}.".strip(),
        notes=[*recipe.notes, *skipped],
        papers=list(recipe.papers),
    )
    write_settings(folder, settings)
    leaderboard.build(boards, [name])
    return boards / f"{name}.md"
