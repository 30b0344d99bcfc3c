"""``regbench ablate``: run every cell of a recipe, then build the board."""

from __future__ import annotations

import shlex
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regbench.cli.options import named_values, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regbench.ablation.cells import Cell
    from regbench.ablation.launch import Launcher


@click.command("ablate")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--root", "roots", multiple=True, metavar="NAME=DIR", help="Folder of a data set. Repeatable.")
@click.option("--dataset", "datasets", multiple=True, help="Use these instead of the recipe's. Repeatable.")
@click.option("--budget", help="Instead of the recipe's.")
@click.option("--seeds", help="Instead of the recipe's, such as 0,1,2.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
              help="Parent of the grid's folder, OUT/RECIPE-BUDGET.")  # fmt: skip
@click.option("--boards", type=click.Path(path_type=Path, file_okay=False), default=Path("leaderboards"),
              show_default=True, help="Folder of the leaderboards the board is added to.")  # fmt: skip
@click.option("--launcher", type=click.Choice(["local", "slurm", "submitit-local"]), default="local",
              show_default=True, help="submitit-local tries the cluster's way on this machine.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Cells at once: on this machine, or on each GPU it has.")  # fmt: skip
@click.option("--slurm", "parameters", multiple=True, metavar="NAME=VALUE",
              help="A parameter of submitit, such as slurm_partition=gpu or timeout_min=600. Repeatable.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--dry-run", is_flag=True, help="Print the cells, what is skipped and why, and the time expected.")
def command(
    recipe: Path,
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
    dry_run: bool,
) -> None:
    """Redo a table: run what RECIPE lists, keep what is done, write the board.

    The same command goes on where an earlier one stopped. Delete a cell's folder to redo that cell alone.

    \b
    regbench ablate leaderboards/recipes/colreg-table5.toml --dry-run
    regbench ablate leaderboards/recipes/colreg-table5.toml --root vedai=VEDAI --seeds 0,1,2
    """
    from regbench.ablation.board import bring_papers, write_board
    from regbench.ablation.cells import cells_of, prepare_packs, read_record
    from regbench.ablation.expected_time import expected_seconds
    from regbench.ablation.launch import run_grid
    from regbench.ablation.recipe import read_recipe
    from regbench.data.pack import available
    from regbench.errors import RegbenchError

    numbers = whole_numbers("--seeds", seeds) if seeds is not None else None
    read = read_recipe(recipe, budget=budget, seeds=numbers, datasets=datasets or None)
    folders = {name: Path(folder) for name, folder in named_values("--root", roots).items()}
    cells = cells_of(read, folders, lambda name: available(name, settings=read.data.get(name)), device)
    folder = out / read.grid_name
    if dry_run:
        _show_plan(cells, folder, expected_seconds(cells, device, (out, boards)))
        return
    chosen = _launcher(launcher, folder, jobs, device, named_values("--slurm", parameters))
    bring_papers(read, recipe.parent, boards)
    prepare_packs(cells, folders, read.data)
    for cell in cells:
        if cell.reason is not None:
            click.echo(f"skipped {cell.name}: {cell.reason}", err=True)
    number = count(1)
    runnable = sum(cell.reason is None for cell in cells)
    failed: list[str] = []

    def done(cell: Cell) -> None:
        record = read_record(folder / cell.name)
        click.echo(f"[{next(number)}/{runnable}] {cell.name}: {_outcome(record, folder / cell.name)}", err=True)
        if record.get("status") != "ok":
            failed.append(cell.name)

    run_grid(cells, folder, chosen, done)
    click.echo(f"wrote {write_board(read, cells, folder, boards)}")
    if failed:
        raise RegbenchError(
            f"{len(failed)} of {runnable} cells failed, the first is {failed[0]} (see {folder / failed[0]}); "
            "the same command tries them again"
        )


def _show_plan(cells: Sequence[Cell], folder: Path, known: Mapping[str, float]) -> None:
    from tabulate import tabulate

    from regbench.training.progress import duration

    rows, total, unknown = [], 0.0, 0
    for cell in cells:
        if cell.reason is not None:
            state = f"skipped: {cell.reason}"
        elif cell.result(folder) is not None:
            state = "done"
        elif cell.name in known:
            state, total = duration(known[cell.name]), total + known[cell.name]
        elif cell.words[0] == "evaluate":
            state = "judging only"
        else:
            state, unknown = "not measured yet", unknown + 1
        needs = f" {cell.needs_as} ({cell.needs})" if cell.needs else ""
        rows.append([cell.name, state, shlex.join(cell.words) + needs])
    click.echo(tabulate(rows, headers=["cell", "training", "regbench …"], tablefmt="plain"))
    left = f", and {unknown} of which no run is known" if unknown else ""
    click.echo(f"{len(rows)} cells; training left, from finished runs of the same combination: {duration(total)}{left}")


def _outcome(record: Mapping[str, Any], folder: Path) -> str:
    from regbench.results import load_result
    from regbench.results.layout import RESULT

    if record.get("status") != "ok":
        return f"failed: {record.get('reason', 'no reason recorded')}"
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
            raise UsageError("--slurm goes with --launcher slurm")
        return Local.here(jobs, device)
    given = {key: parse_value(value) for key, value in parameters.items()}
    return Cluster(folder, "slurm" if name == "slurm" else "local", **given)
