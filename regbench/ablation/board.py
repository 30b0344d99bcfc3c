"""The board of an ablation: finished runs, failed runs, and which cells were skipped and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from regbench.ablation.cells import Cell, finished_run, recorded_run
from regbench.ablation.recipe import Recipe
from regbench.contained import refuse_link, refuse_links, safe_name
from regbench.errors import DataError
from regbench.plugins.register import Control
from regbench.plugins.registry import registry
from regbench.report import leaderboard
from regbench.report.board import SETTINGS_FILE, BoardSettings, write_settings
from regbench.report.printed import PAPER_FILES
from regbench.report.trust import records_in
from regbench.results.layout import RESULT
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


def controls_of(recipe: Recipe) -> list[str]:
    """Names of the controls that a board of these rows should carry: all that are registered.

    Empty for a recipe that compares no strategies without labels; its board is content with one control of each kind.
    """
    installed = registry()
    strategies = {row.strategy for row in recipe.rows if row.strategy and row.incompatibility() is None}
    compared = [installed.get("strategy", name) for name in sorted(strategies)]
    if not any(c.load().supervision == "none" for c in compared if c.control is None):
        return []
    return [c.name for control in get_args(Control) for c in installed.controls(control)]


def add_cell(recipe: Recipe, cell: Cell, out: Path, boards: Path, name: str) -> None:
    """Add the finished run of one cell to a board and build its page, unless the board holds that very run.

    Args:
        recipe: titles the board where it is new.
        cell: the cell.
        out: folder of the ablation.
        boards: folder of the leaderboards.
        name: of the board.

    Raises:
        DataError: the board holds other numbers under the run's id, or a file is broken.
        UsageError: the run was not judged with exact labels.
    """
    run = finished_run(out / cell.name)
    if run is None:
        return
    folder = boards / "results" / name
    on_board = folder / f"{load_result(run / RESULT).run_id}.json"
    if on_board.is_file() and on_board.read_bytes() == (run / RESULT).read_bytes():
        return
    leaderboard.add(boards, name, [run])
    if not (folder / SETTINGS_FILE).exists():
        write_settings(folder, _settings(recipe, folder, []))
    leaderboard.build(boards, [name])


def write_board(recipe: Recipe, cells: Sequence[Cell], out: Path, boards: Path, name: str | None = None) -> Path:
    """Add every run of an ablation to its board and build the page.

    Args:
        recipe: names the board, together with its budget; the title also names the data sets.
        cells: all cells, skipped ones included: the board says why they were skipped.
        out: folder of the ablation.
        boards: folder of the leaderboards.
        name: of another board, which several ablations may share; its ``board.toml`` stays as it is, if there is one.

    Returns:
        The page.

    Raises:
        DataError: a run's file is broken.
        UsageError: a run was not judged with exact labels.
    """
    board = name or recipe.board_name
    runs = [recorded_run(out / cell.name) for cell in cells if cell.skip_reason is None]
    leaderboard.add(boards, board, [run for run in runs if run is not None], failed=True)
    skipped = sorted(
        {f"{cell.row.name} on {cell.dataset} was not run: {cell.skip_reason}" for cell in cells if cell.skip_reason}
    )
    folder = boards / "results" / board
    if name is None or not (folder / SETTINGS_FILE).exists():
        write_settings(folder, _settings(recipe, folder, skipped))
    leaderboard.build(boards, [board])
    return boards / f"{board}.md"


def _settings(recipe: Recipe, folder: Path, notes: Sequence[str]) -> BoardSettings:
    """What the board of a recipe says about itself; the title names the data sets that are there so far."""
    datasets = sorted({load_result(path, committed=True).identity.test_dataset.name for path in records_in(folder)})
    return BoardSettings(
        title=f"{recipe.title} ({', '.join([f'{recipe.budget} budget', *datasets])})",
        description=f"{recipe.description} Budget {recipe.budget}: {budget_of(recipe.budget).summary}.".strip(),
        notes=[*recipe.notes, *notes],
        controls=controls_of(recipe),
        papers=list(recipe.papers),
    )
