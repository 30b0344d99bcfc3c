"""``regbench ablate``: run every cell of recipes, then write their boards; or say how far they are."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regbench.cli._shared.options import Named, PathType, RecipeType, named_values, whole_numbers
from regbench.cli._shared.output import echo, echo_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regbench.ablation.ablation import Ablation
    from regbench.ablation.cells import Cell
    from regbench.ablation.check import Findings
    from regbench.ablation.deadline import Deadline
    from regbench.ablation.launch import Launcher


@click.command("ablate")
@click.argument("recipe_files", metavar="RECIPE...", nargs=-1, required=True, type=RecipeType())
@click.option("--root", "roots", multiple=True, metavar="NAME=DIR", help="Folder of a data set. Repeatable.")
@click.option(
    "--dataset",
    "datasets",
    type=Named("dataset"),
    multiple=True,
    help="Data set to use instead of the recipe's. Repeatable.",
)
@click.option("--budget", help="Budget to use instead of the recipe's.")
@click.option("--seeds", help="Seeds to use instead of the recipe's, such as 0,1,2.")
@click.option("--out", type=PathType(file_okay=False), default=Path("runs"), show_default=True,
              help="The cells' folders are made in OUT/RECIPE-BUDGET.")  # fmt: skip
@click.option("--boards", type=PathType(file_okay=False), default=Path("leaderboards"),
              show_default=True, help="Folder of the leaderboards to which the board is added.")  # fmt: skip
@click.option("--board", metavar="NAME",
              help="Board to which each finished cell is added at once, instead of RECIPE-BUDGET.")  # fmt: skip
@click.option("--launcher", type=click.Choice(["local", "slurm", "submitit-local"]), default="local",
              show_default=True, help="submitit-local runs submitit's jobs on this machine.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True,
              help="Cells at once: on this machine, or on each GPU it has.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="Threads of each cell; else those of the environment.")
@click.option("--end-before", metavar="HH:MM", help="Start no cell that is expected to end later than that.")
@click.option("--end-within", metavar="MINUTES", type=click.FloatRange(0), help="The same, in minutes from now.")
@click.option("--slurm", "parameters", multiple=True, metavar="NAME=VALUE",
              help="A parameter of submitit, such as slurm_partition=gpu or timeout_min=600. Repeatable.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--force", is_flag=True, help="Read data sets again whose files have changed, and run their cells again.")
@click.option("--dry-run", is_flag=True, help="Run nothing: open the data, check every cell, print the expected time.")
@click.option("--status", is_flag=True, help="Run nothing: say how far the cells are, whoever runs them.")
@click.option("--json", "as_json", is_flag=True, help="With --status: print it as JSON.")
def command(
    recipe_files: tuple[Path, ...],
    roots: tuple[str, ...],
    datasets: tuple[str, ...],
    budget: str | None,
    seeds: str | None,
    out: Path,
    boards: Path,
    board: str | None,
    launcher: str,
    jobs: int,
    threads: int | None,
    end_before: str | None,
    end_within: float | None,
    parameters: tuple[str, ...],
    device: str,
    force: bool,
    dry_run: bool,
    status: bool,
    as_json: bool,
) -> None:
    """Reproduce tables: run every cell of each RECIPE that is not finished, then write its board.

    The same command continues where an earlier one stopped. Delete a cell's folder to repeat that cell alone.

    \b
    regbench ablate leaderboards/recipes/colreg-table5.toml --dry-run
    regbench ablate leaderboards/recipes/colreg-table5.toml --root vedai=VEDAI --seeds 0,1,2
    regbench ablate leaderboards/recipes/campaign-*.toml --root vedai=VEDAI --threads 1 --board campaign
    regbench ablate leaderboards/recipes/campaign-*.toml --root vedai=VEDAI --status
    """
    from regbench.ablation.ablation import read_ablations, run_ablation
    from regbench.ablation.deadline import Deadline, moment_of
    from regbench.errors import InterruptedRun, RegbenchError, UsageError
    from regbench.report.leaderboard import check_name
    from regbench.runs.request import check_device

    check_device(device)
    if board is not None:
        check_name(board)
    if as_json and not status:
        raise UsageError("--json goes with --status")
    moment = moment_of(end_before, end_within, time.time())
    if moment is not None and launcher != "local":
        raise UsageError("--end-before and --end-within need --launcher local: a cluster starts cells when it likes")
    ablations = read_ablations(
        recipe_files,
        out=out,
        boards=boards,
        roots={name: Path(folder).expanduser() for name, folder in named_values("--root", roots).items()},
        device=device,
        budget=budget,
        seeds=whole_numbers("--seeds", seeds) if seeds is not None else None,
        datasets=datasets or None,
    )
    if status:
        _show_status(ablations, as_json)
        return
    if dry_run:
        _dry_run(ablations, device if launcher == "local" else "cpu")
        return
    failed: list[str] = []
    interrupted = 0
    for ablation in ablations:
        deadline = None if moment is None else Deadline(moment, ablation.seconds_of)
        runner = _launcher(
            launcher, ablation.folder, jobs, device, named_values("--slurm", parameters), threads, deadline
        )
        done = run_ablation(ablation, runner, lambda line: echo(line, err=True), name=board, force=force)
        if not done.refused:
            echo(f"wrote {done.page}")
        failed += done.refused
        if done.failed:
            failed.append(
                f"{len(done.failed)} of {done.runnable} cells failed, the first is {done.failed[0]} "
                f"(see {ablation.folder / done.failed[0]}); the same command tries them again"
            )
        interrupted += len(done.interrupted)
        if done.left:
            echo(f"{len(done.left)} of {done.runnable} cells are left for later; the same command goes on", err=True)
    if failed:
        raise RegbenchError("; ".join(failed))
    if interrupted:
        raise InterruptedRun(f"{interrupted} cells were interrupted; the same command goes on")


def _dry_run(ablations: Sequence[Ablation], device: str) -> None:
    """Check every cell and print the expected time; raises RegbenchError if one cannot run."""
    from regbench.ablation.board import paper_folder
    from regbench.ablation.check import check_cells
    from regbench.report.printed import load_paper

    for ablation in ablations:
        for paper in ablation.recipe.papers:
            load_paper(paper_folder(paper, ablation.file.parent, ablation.boards))
        if len(ablations) > 1:
            echo(f"{ablation.file}:", bold=True)
        _show_plan(ablation.cells, ablation.folder, ablation.expected(), check_cells(ablation.cells, device=device))


def _show_status(ablations: Sequence[Ablation], as_json: bool) -> None:
    """Print how far the cells of each ablation are, and how far all are."""
    from tabulate import tabulate

    from regbench.ablation.status import STATES, status_of, summary
    from regbench.ablation.status import as_json as data_of
    from regbench.training.progress import duration

    every, documents = [], []
    for ablation in ablations:
        statuses = status_of(ablation.cells, ablation.folder, ablation.expected())
        every += statuses
        documents.append({"recipe": ablation.recipe.name, "folder": str(ablation.folder)} | data_of(statuses))
        if as_json:
            continue
        rows = [
            [
                s.cell,
                s.state,
                " ".join(part for part in (s.stage, s.step and f"step {s.step}/{s.steps}", s.detail) if part),
                "" if s.seconds is None else duration(s.seconds),
                "" if s.state in ("done", "skipped") else "?" if s.seconds_left is None else duration(s.seconds_left),
            ]
            for s in statuses
        ]
        echo(f"{ablation.recipe.board_name}: {ablation.recipe.title}", bold=True)
        echo(tabulate(rows, headers=["cell", "state", "", "time", "left"], tablefmt="plain", disable_numparse=True))
        echo()
    total = summary(every)
    if as_json:
        echo_json(json.dumps(total | {"recipes": documents}, indent=2))
        return
    counts = ", ".join(f"{total[state]} {state}" for state in STATES if total[state])
    unknown = total["not_known"]
    more = f", and that of {unknown} cells without a finished run to compare with" if unknown else ""
    left = duration(total["seconds_left"])
    echo(f"{total['cells']} cells: {counts}. Training left, one after another: {left}{more}.")


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


def _launcher(
    name: str,
    folder: Path,
    jobs: int,
    device: str,
    parameters: Mapping[str, str],
    threads: int | None,
    deadline: Deadline | None,
) -> Launcher:
    from regbench.ablation.launch import THREADS, Cluster, Local
    from regbench.errors import UsageError
    from regbench.settings import parse_value

    environment = {} if threads is None else dict.fromkeys(THREADS, str(threads))
    if name == "local":
        if parameters:
            raise UsageError("--slurm needs --launcher slurm")
        gate = {} if deadline is None else {"may_start": deadline.allows}
        return Local.on_this_machine(jobs, device, environment=environment, **gate)
    values = {key: parse_value(value) for key, value in parameters.items()}
    return Cluster(folder, "slurm" if name == "slurm" else "local", environment, **values)
