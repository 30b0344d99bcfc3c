"""``regbench ablate``: run every cell of a recipe, then write the board."""

from __future__ import annotations

import shlex
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regbench.cli._options import PathType, named_values, whole_numbers
from regbench.cli._output import echo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regbench.ablation.cells import Cell
    from regbench.ablation.check import Findings
    from regbench.ablation.launch import Launcher


@click.command("ablate")
@click.argument("recipe_file", metavar="RECIPE", type=PathType())
@click.option("--root", "roots", multiple=True, metavar="NAME=DIR", help="Folder of a data set. Repeatable.")
@click.option("--dataset", "datasets", multiple=True, help="Data set to use instead of the recipe's. Repeatable.")
@click.option("--budget", help="Budget to use instead of the recipe's.")
@click.option("--seeds", help="Seeds to use instead of the recipe's, such as 0,1,2.")
@click.option("--out", type=PathType(file_okay=False), default=Path("runs"), show_default=True,
              help="The cells' folders are made in OUT/RECIPE-BUDGET.")  # fmt: skip
@click.option("--boards", type=PathType(file_okay=False), default=Path("leaderboards"),
              show_default=True, help="Folder of the leaderboards to which the board is added.")  # fmt: skip
@click.option("--launcher", type=click.Choice(["local", "slurm", "submitit-local"]), default="local",
              show_default=True, help="submitit-local runs submitit's jobs on this machine.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Cells at once: on this machine, or on each GPU it has.")  # fmt: skip
@click.option("--slurm", "parameters", multiple=True, metavar="NAME=VALUE",
              help="A parameter of submitit, such as slurm_partition=gpu or timeout_min=600. Repeatable.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--force", is_flag=True, help="Read data sets again whose files have changed, and run their cells again.")
@click.option("--dry-run", is_flag=True, help="Run nothing: open the data, check every cell, print the expected time.")
def command(
    recipe_file: Path,
    roots: tuple[str, ...],
    datasets: tuple[str, ...],
    budget: str | None,
    seeds: str | None,
    out: Path,
    boards: Path,
    launcher: str,
    jobs: int,
    parameters: tuple[str, ...],
    device: str,
    force: bool,
    dry_run: bool,
) -> None:
    """Reproduce a table: run every cell of RECIPE that is not finished, then write the board.

    The same command continues where an earlier one stopped. Delete a cell's folder to repeat that cell alone.

    \b
    regbench ablate leaderboards/recipes/colreg-table5.toml --dry-run
    regbench ablate leaderboards/recipes/colreg-table5.toml --root vedai=VEDAI --seeds 0,1,2
    """
    from regbench.ablation.board import copy_papers, paper_folder, write_board
    from regbench.ablation.cells import cells_of, prepare_packs, read_record
    from regbench.ablation.check import check_cells
    from regbench.ablation.expected_time import expected_seconds
    from regbench.ablation.launch import run_cells
    from regbench.ablation.recipe_file import read_recipe
    from regbench.data.packs.prepare import available
    from regbench.errors import InterruptedRun, RegbenchError, unknown_name
    from regbench.report.printed import load_paper
    from regbench.runs.request import check_device

    check_device(device)
    seed_numbers = whole_numbers("--seeds", seeds) if seeds is not None else None
    recipe = read_recipe(recipe_file, budget=budget, seeds=seed_numbers, datasets=datasets or None)
    folders = {name: Path(folder).expanduser() for name, folder in named_values("--root", roots).items()}
    for name in folders:
        if name not in (*recipe.datasets, *recipe.transfer):
            raise unknown_name("data set of --root", name, {*recipe.datasets, *recipe.transfer})
    cells = cells_of(recipe, folders, lambda name: available(name, settings=recipe.data.get(name)), device)
    folder = out / recipe.board_name
    if dry_run:
        for paper in recipe.papers:
            load_paper(paper_folder(paper, recipe_file.parent, boards))
        findings = check_cells(cells, device=device if launcher == "local" else "cpu")
        _show_plan(cells, folder, expected_seconds(cells, device, (out, boards)), findings)
        return
    runner = _launcher(launcher, folder, jobs, device, named_values("--slurm", parameters))
    copy_papers(recipe, recipe_file.parent, boards)
    cells = prepare_packs(cells, folders, recipe.data, force=force)
    for cell in cells:
        if cell.skip_reason is not None:
            echo(f"skipped {cell.name}: {cell.skip_reason}", err=True)
    number = count(1)
    runnable = sum(cell.skip_reason is None for cell in cells)
    failed: list[str] = []
    interrupted: list[str] = []

    def on_ended(cell: Cell) -> None:
        record = read_record(folder / cell.name)
        echo(f"[{next(number)}/{runnable}] {cell.name}: {_outcome(record, folder / cell.name)}", err=True)
        if record.get("status") != "ok":
            (interrupted if record.get("status") == "interrupted" else failed).append(cell.name)

    run_cells(cells, folder, runner, on_ended)
    echo(f"wrote {write_board(recipe, cells, folder, boards)}")
    if failed:
        raise RegbenchError(
            f"{len(failed)} of {runnable} cells failed, the first is {failed[0]} (see {folder / failed[0]}); "
            "the same command tries them again"
        )
    if interrupted:
        raise InterruptedRun(f"{len(interrupted)} of {runnable} cells were interrupted; the same command goes on")


def _show_plan(cells: Sequence[Cell], folder: Path, expected: Mapping[str, float], findings: Findings) -> None:
    """Print the cells with their state.

    Args:
        cells: all of them.
        folder: of the ablation.
        expected: seconds of training by cell.
        findings: why some cannot run.

    Raises:
        RegbenchError: at the end, if a cell cannot run.
    """
    from tabulate import tabulate

    from regbench.errors import RegbenchError
    from regbench.training.progress import duration

    rows, total, unknown = [], 0.0, 0
    for cell in cells:
        if cell.skip_reason is not None:
            state = f"skipped: {cell.skip_reason}"
        elif cell.name in findings.problems:
            state = f"fails: {findings.problems[cell.name]}"
        elif cell.result(folder) is not None:
            state = "done"
        elif cell.name in expected:
            state, total = duration(expected[cell.name]), total + expected[cell.name]
        elif cell.arguments[0] == "evaluate":
            state = "judging only"
        else:
            state, unknown = "not measured yet", unknown + 1
        needed_run = f" {cell.needed_option} ({cell.needed_cell})" if cell.needed_cell else ""
        rows.append([cell.name, state, shlex.join(cell.arguments) + needed_run])
    echo(tabulate(rows, headers=["cell", "training", "regbench …"], tablefmt="plain", disable_numparse=True))
    for name, opened in findings.data.items():
        echo(f"{name}: {opened.counts['train']} training and {opened.counts['test']} test pairs, first ones read")
    unbuilt = f", {len(findings.not_built)} rows were left unbuilt, as time was up" if findings.not_built else ""
    echo(
        f"Checked: settings of every cell, its protocol on its data, the networks of {len(findings.built)} rows "
        f"(each on one data set{unbuilt}). Not checked: the other images, memory, training."
    )
    more = f", and the time of {unknown} cells without such a run" if unknown else ""
    echo(f"{len(rows)} cells; training left, from finished runs of the same combination: {duration(total)}{more}")
    if findings.problems:
        first, reason = next(iter(findings.problems.items()))
        raise RegbenchError(f"{len(findings.problems)} of {len(rows)} cells cannot run, the first is {first}: {reason}")


def _outcome(record: Mapping[str, Any], folder: Path) -> str:
    """The score of an ended cell, or why it failed."""
    from regbench.results import load_result
    from regbench.results.layout import RESULT

    if record.get("status") != "ok":
        return f"{record.get('status', 'failed')}: {record.get('reason', 'no reason recorded')}"
    metrics = load_result(folder / str(record["run"]) / RESULT).metrics
    if (mace := metrics.get("mace")) is None or mace.value is None:
        return "ok"
    identity = metrics["identity_mace"].value
    return f"MACE {mace.value:.2f} px" + (f", identity {identity:.2f}" if identity is not None else "")


def _launcher(name: str, folder: Path, jobs: int, device: str, parameters: Mapping[str, str]) -> Launcher:
    from regbench.ablation.launch import Cluster, Local
    from regbench.errors import UsageError
    from regbench.settings import parse_value

    if name == "local":
        if parameters:
            raise UsageError("--slurm needs --launcher slurm")
        return Local.on_this_machine(jobs, device)
    values = {key: parse_value(value) for key, value in parameters.items()}
    return Cluster(folder, "slurm" if name == "slurm" else "local", **values)
