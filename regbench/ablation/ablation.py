"""An ablation on this machine: a recipe with its cells and their folder, and running all of it to its board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regbench.ablation import board
from regbench.ablation.cells import Cell, cells_of, prepare_packs, read_record
from regbench.ablation.expected_time import expected_seconds
from regbench.ablation.launch import Launcher, run_cells
from regbench.ablation.recipe import Recipe
from regbench.ablation.recipe_file import read_recipe
from regbench.ablation.shipped import recipe_path
from regbench.ablation.status import score
from regbench.data.packs.prepare import available
from regbench.errors import RegbenchError, UsageError, unknown_name
from regbench.results import load_result
from regbench.results.layout import RESULT

Say = Callable[[str], None]
"""Tells a person a line."""


@dataclass(frozen=True)
class Ablation:
    """A recipe as it is run here.

    Attributes:
        recipe: what it says, with the words of the command line in place of its own.
        file: where it was read.
        cells: all of them, skipped ones included.
        folder: of the cells.
        boards: folder of the leaderboards.
        roots: folders of data sets by name.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    recipe: Recipe
    file: Path
    cells: Sequence[Cell]
    folder: Path
    boards: Path
    roots: Mapping[str, Path]
    device: str

    def expected(self, cells: Sequence[Cell] | None = None) -> dict[str, float]:
        """Seconds of training by cell, from the finished runs beside this ablation and on the boards."""
        chosen = self.cells if cells is None else cells
        return expected_seconds(chosen, self.device, (self.folder.parent, self.boards))

    def seconds_of(self, cell: Cell) -> float | None:
        """Expected seconds of training of one cell, as far as is known by now; None where nothing is."""
        return self.expected([cell]).get(cell.name)


def read_ablations(
    files: Sequence[Path], *, out: Path, boards: Path, roots: Mapping[str, Path], device: str, **overrides: Any
) -> list[Ablation]:
    """Read recipes, in order.

    Args:
        files: the TOML files, or names of shipped recipes.
        out: folder of the folders of ablations.
        boards: folder of the leaderboards.
        roots: folders of data sets by name; a recipe takes those it uses.
        device: where cells run.
        overrides: ``budget``, ``seeds``, ``datasets`` instead of those of the recipes; None keeps them.

    Raises:
        UsageError, DataError: a recipe is wrong, two share a folder, or no recipe has a data set of ``roots``.
    """
    files = [recipe_path(file) for file in files]
    recipes = [read_recipe(file, **overrides) for file in files]
    known = {name for recipe in recipes for name in (*recipe.datasets, *recipe.transfer)}
    for name in roots:
        if name not in known:
            raise unknown_name("data set of --root", name, known)
    names = [recipe.board_name for recipe in recipes]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two recipes are called {twice[0]}, which names the folder of their cells; rename one")
    ablations = []
    for recipe, file in zip(recipes, files, strict=True):
        own = {name: root for name, root in roots.items() if name in (*recipe.datasets, *recipe.transfer)}
        cells = cells_of(recipe, own, lambda name, r=recipe: available(name, settings=r.data.get(name)), device)  # type: ignore[misc]
        ablations.append(Ablation(recipe, file, cells, out / recipe.board_name, boards, own, device))
    return ablations


@dataclass
class Outcome:
    """What became of the cells of an ablation.

    Attributes:
        page: of its board.
        runnable: number of cells that are not skipped.
        failed: names of cells that failed.
        interrupted: names of cells that a signal ended in good order.
        left: cells that were left for later.
        refused: why a finished cell could not be added to the board, a line each.
    """

    page: Path
    runnable: int
    failed: list[str]
    interrupted: list[str]
    left: list[Cell]
    refused: list[str]


def run_ablation(ablation: Ablation, launcher: Launcher, say: Say, *, name: str | None, force: bool) -> Outcome:
    """Run every cell that is not finished; each is added to the board at once, failed ones at the end.

    Args:
        ablation: what is run.
        launcher: where its cells run.
        say: told each cell that ends.
        name: of a board that recipes share; None for the recipe's own.
        force: read data sets again whose files have changed.
    """
    recipe, folder, boards = ablation.recipe, ablation.folder, ablation.boards
    board.copy_papers(recipe, ablation.file.parent, boards)
    cells = prepare_packs(ablation.cells, ablation.roots, recipe.data, force=force)
    for cell in cells:
        if cell.skip_reason is not None:
            say(f"skipped {cell.name}: {cell.skip_reason}")
    page = name or recipe.board_name
    runnable = sum(cell.skip_reason is None for cell in cells)
    ended, failed, interrupted, refused = 0, list[str](), list[str](), list[str]()

    def on_ended(cell: Cell) -> None:
        nonlocal ended
        ended += 1
        record = read_record(folder / cell.name)
        say(f"[{ended}/{runnable}] {cell.name}: {outcome(record, folder / cell.name)}")
        if record.get("status") != "ok":
            (interrupted if record.get("status") == "interrupted" else failed).append(cell.name)
            return
        try:
            board.add_cell(recipe, cell, folder, boards, page)
        except RegbenchError as error:  # the other cells must not suffer
            refused.append(f"{cell.name} is not on the board {page}: {error}")
            say(refused[-1])

    left = run_cells(cells, folder, launcher, on_ended)
    for cell in left:
        say(f"left for later: {cell.name}")
    if refused:
        return Outcome(boards / f"{page}.md", runnable, failed, interrupted, left, refused)
    return Outcome(board.write_board(recipe, cells, folder, boards, name), runnable, failed, interrupted, left, refused)


def outcome(record: Mapping[str, Any], folder: Path) -> str:
    """The score of an ended cell, or why it failed."""
    if record.get("status") != "ok":
        return f"{record.get('status') or 'failed'}: {record.get('reason', 'no reason recorded')}"
    return score(load_result(folder / str(record["run"]) / RESULT)) or "ok"
