"""Every row of the recipes of papers on small real data sets in the published layouts: checked, then run at smoke size.

All cells are checked. Of each row one is run, on a data set that changes from row to row, and judged on one other data
set where the recipe judges it on all. Data sets that are not beside the checkout are left out.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from regbench.ablation.board import write_board
from regbench.ablation.cells import Cell, cells_of, read_record
from regbench.ablation.launch import finish_cell, run_cells
from regbench.ablation.recipe_file import read_recipe
from regbench.report.printed import load_paper
from regbench.results.layout import CELL_LOG, CELL_STDOUT
from tests.ablation.test_shipped_recipes import FOLDER, PRINTED

pytestmark = pytest.mark.slow
ROOTS = {
    "googleearth": "GoogleEarth",
    "vedai": "VEDAI",
    "diml": "DIML",
    "osdataset": "OSdataset",
    "llvip": "LLVIP",
    "googlemap-original": "GoogleMap",
}


@pytest.fixture
def roots(shared_data):
    """Folders of the data sets of a recipe: ``roots(name)``."""

    def of(name: str) -> dict[str, Path]:
        recipe = read_recipe(FOLDER / f"{name}.toml")
        used = dict.fromkeys((*recipe.datasets, *recipe.transfer))
        return {dataset: shared_data / ROOTS[dataset] for dataset in used if dataset in ROOTS}

    return of


@pytest.fixture(scope="module")
def ran() -> dict[tuple[str, ...], Path]:
    """Folders of cells that ran, by what they ran: recipes share many."""
    return {}


@pytest.mark.parametrize("name", PRINTED)
def test_the_dry_run_finds_nothing_wrong(inline, roots, name):
    words = [word for dataset, root in roots(name).items() for word in ("--root", f"{dataset}={root}")]
    done = inline("ablate", str(FOLDER / f"{name}.toml"), "--boards", str(FOLDER.parent), *words, "--dry-run")
    assert done.code == 0, done.err
    assert "fails:" not in done.out
    assert all(f"{dataset}: " in done.out for dataset in roots(name)), "each data set was opened"


class Inline:
    """A launcher in this process, which runs no command twice."""

    def __init__(self, inline, ran: dict[tuple[str, ...], Path], cells: list[Cell]) -> None:
        self.inline, self.ran = inline, ran
        self.words = {cell.name: cell.arguments for cell in cells}

    def run(self, cells, out, on_ended) -> None:
        for cell in cells:
            key = (*cell.arguments, *self.words.get(cell.needed_cell, ()))
            if key in self.ran:
                shutil.copytree(self.ran[key], out / cell.name)
                cell.record(out, "ok", run=read_record(self.ran[key])["run"])
            else:
                cell.record(out, "running")
                outcome = self.inline(*cell.command(out), "--json", "--quiet")
                (out / cell.name / CELL_STDOUT).write_text(outcome.out)
                (out / cell.name / CELL_LOG).write_text(outcome.err)
                finish_cell(cell, out, outcome.code)
                if read_record(out / cell.name)["status"] == "ok":
                    self.ran[key] = out / cell.name
            on_ended(cell)


def sample(cells: list[Cell]) -> list[Cell]:
    """One cell of each row, a student's where its teacher's is, and for each the first that judges it elsewhere."""
    sets = list(dict.fromkeys(cell.dataset for cell in cells if cell.needed_option != "--run"))
    rows = list(dict.fromkeys(cell.row.name for cell in cells))
    place = {row: sets[number % len(sets)] for number, row in enumerate(rows)}
    chosen: dict[str, Cell] = {}
    for cell in cells:
        if cell.needed_option == "--run":
            taken = cell.needed_cell in chosen and cell.needed_cell not in {c.needed_cell for c in chosen.values()}
        else:
            taken = cell.dataset == place[cell.row.teacher or cell.row.name]
        if taken:
            chosen[cell.name] = cell
    return list(chosen.values())


@pytest.mark.parametrize("name", PRINTED)
def test_every_row_runs_and_stands_beside_its_printed_numbers(inline, roots, ran, tmp_path, name):
    recipe = read_recipe(FOLDER / f"{name}.toml", budget="smoke", seeds=(0,))
    everything = cells_of(recipe, roots(name), lambda dataset: False, "cpu")
    cells = sample([cell for cell in everything if not cell.skip_reason])
    assert {cell.row.name for cell in cells} == {row.name for row in recipe.rows}
    out, boards = tmp_path / "runs", tmp_path / "boards"
    run_cells(cells, out, Inline(inline, ran, cells), lambda cell: None)
    failed = {cell.name: record for cell in cells if (record := read_record(out / cell.name))["status"] != "ok"}
    assert not failed

    shutil.copytree(FOLDER, boards / "recipes")
    page = write_board(recipe, cells, out, boards).read_text()
    paper = load_paper(FOLDER / name.partition("-")[0])
    wanted = {
        (cell.dataset, line.table, method)
        for cell in cells
        if cell.needed_option != "--run"
        for method in PRINTED[name].get(cell.row.name, ())
        for line in paper.lines.get(cell.dataset, ())
        if line.method == method
    }
    printed = [line.split("|") for line in page.splitlines() if ", arXiv" in line and line.startswith("|")]
    source = "CoLReg" if name.startswith("colreg") else "SSHNet"
    ours = [cells for cells in printed if cells[3].strip().startswith(source) and cells[-2].strip() != "–"]
    assert len(ours) == len(wanted)
