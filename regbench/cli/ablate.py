"""``regbench ablate``: run every cell of a recipe, then build the board."""

from __future__ import annotations

import json
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regbench.engine.grid import Cell
    from regbench.engine.launch import Launcher
    from regbench.recipe import Recipe, Sets


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
    from regbench.engine.grid import cells_of
    from regbench.engine.launch import run_grid
    from regbench.engine.training_time import expected_seconds
    from regbench.errors import RegbenchError
    from regbench.recipe import read_recipe

    read = read_recipe(recipe, budget=budget, seeds=_numbers(seeds), datasets=datasets or None)
    folders = {name: Path(folder) for name, folder in _pairs("--root", roots).items()}
    cells = cells_of(read, folders, partial(_prepared, settings=read.data), device)
    folder = out / f"{read.name}-{read.budget}"
    if dry_run:
        _show_plan(cells, folder, expected_seconds(cells, device, (out, boards)))
        return
    chosen = _launcher(launcher, folder, jobs, device, _pairs("--slurm", parameters))
    _prepare(cells, folders, read.data)
    runnable = [cell for cell in cells if cell.reason is None]
    for cell in cells:
        if cell.reason is not None:
            click.echo(f"skipped {cell.name}: {cell.reason}", err=True)
    count = 0
    failed: list[str] = []

    def done(cell: Cell, record: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        click.echo(f"[{count}/{len(runnable)}] {cell.name}: {_outcome(cell, record, folder)}", err=True)
        if record.get("status") != "ok":
            failed.append(cell.name)

    run_grid(cells, folder, chosen, done)
    for paper in read.papers:  # where the board looks for them
        if not (boards / "recipes" / paper).exists():
            shutil.copytree(recipe.parent / paper, boards / "recipes" / paper)
    page = write_board(read, cells, folder, boards)
    click.echo(f"wrote {page}")
    if failed:
        raise RegbenchError(
            f"{len(failed)} of {len(runnable)} cells failed, the first is {failed[0]} (see {folder / failed[0]}); "
            "the same command tries them again"
        )


def write_board(recipe: Recipe, cells: Sequence[Cell], folder: Path, boards: Path) -> Path:
    """Add every run of a grid, failed ones too, to the board of the recipe, and build it."""
    from regbench import leaderboard
    from regbench.config import budget_of
    from regbench.engine.grid import read_record
    from regbench.results.store import RESULT, write_text

    name = f"{recipe.name}-{recipe.budget}"
    runs = []
    for cell in cells:
        record = read_record(folder / cell.name) or {}
        run = folder / cell.name / str(record.get("run"))
        if cell.reason is None and (run / RESULT).is_file():
            runs.append(run)
    leaderboard.add(boards, name, runs, failed=True)
    left_out = sorted(
        {f"{cell.row.name} on {cell.dataset} was not run: {cell.reason}" for cell in cells if cell.reason}
    )
    budget = f"Budget {recipe.budget}: {budget_of(recipe.budget).summary}."
    settings = {
        "title": f"{recipe.title} ({recipe.budget} budget)",
        "description": f"{recipe.description} {budget}".strip(),
        "notes": [*recipe.notes, *left_out],
        "papers": list(recipe.papers),
    }
    # JSON strings and lists of strings are TOML, too.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items()]
    write_text(boards / "results" / name / "board.toml", "".join(lines))
    leaderboard.build(boards, [name])
    return boards / f"{name}.md"


def _show_plan(cells: Sequence[Cell], folder: Path, known: Mapping[str, float]) -> None:
    from tabulate import tabulate

    from regbench.engine.progress import duration

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


def _outcome(cell: Cell, record: dict[str, Any], folder: Path) -> str:
    from regbench.results import load_result
    from regbench.results.store import RESULT

    if record.get("status") != "ok":
        return f"failed: {record.get('reason', 'no reason recorded')}"
    metrics = load_result(folder / cell.name / str(record["run"]) / RESULT).metrics
    mace, identity = metrics["mace"].value, metrics["identity_mace"].value
    return f"MACE {mace:.2f} px, identity {identity:.2f}" if mace is not None and identity is not None else "ok"


def _launcher(name: str, folder: Path, jobs: int, device: str, parameters: dict[str, str]) -> Launcher:
    from regbench.config import parse_value
    from regbench.engine.launch import Cluster, Local
    from regbench.errors import UsageError

    if name == "local":
        if parameters:
            raise UsageError("--slurm goes with --launcher slurm")
        import torch

        count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
        return Local(jobs, [str(number) for number in range(count)])
    given = {key: parse_value(value) for key, value in parameters.items()}
    return Cluster(folder, "slurm" if name == "slurm" else "local", **given)


def _prepare(cells: Sequence[Cell], roots: dict[str, Path], settings: Sets) -> None:
    """Make each pack once, before cells that start together would all try."""
    from regbench.data.pack import ensure

    for name in dict.fromkeys(cell.dataset for cell in cells if cell.reason is None):
        ensure(name, root=roots.get(name), settings=settings.get(name))


def _prepared(dataset: str, settings: Sets) -> bool:
    from regbench.data.pack import find
    from regbench.errors import RegbenchError
    from regbench.plugins import registry

    if not registry().get("dataset", dataset).load().needs_root:
        return True
    try:
        find(dataset, settings=settings.get(dataset))
    except RegbenchError:
        return False
    return True


def _numbers(text: str | None) -> tuple[int, ...] | None:
    from regbench.errors import UsageError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text}: write whole numbers with commas, such as 0,1,2") from None


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    from regbench.errors import UsageError

    for pair in given:
        if "=" not in pair:
            raise UsageError(f"{option} {pair}: write NAME=VALUE")
    return dict((pair.partition("=")[0], pair.partition("=")[2]) for pair in given)
