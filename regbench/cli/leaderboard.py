"""``regbench leaderboard``: build, check, extend, upgrade and export leaderboards."""

from __future__ import annotations

from pathlib import Path

import click

from regbench.cli._shared.options import PathType, finished_runs
from regbench.cli._shared.output import echo

_root = click.option(
    "--root",
    type=PathType(),
    default=Path("leaderboards"),
    show_default=True,
    help="Folder of the boards; results are in ROOT/results/BOARD.",
)
_boards = click.argument("boards", nargs=-1, metavar="[BOARD]...")


@click.group()
def command() -> None:
    """Build, check, extend, upgrade and export leaderboards, as markdown, HTML, CSV and LaTeX."""


@command.command()
@_root
@_boards
def build(root: Path, boards: tuple[str, ...]) -> None:
    """Write ROOT/BOARD.md from the committed results, for the named boards or for all."""
    from regbench.report import leaderboard

    changed = leaderboard.build(root, boards)
    for path in changed:
        echo(f"wrote {path}")
    if not changed:
        echo("up to date")


@command.command()
@_root
@_boards
def check(root: Path, boards: tuple[str, ...]) -> None:
    """Check committed results and pages; fail with a list of problems or a diff."""
    from regbench.errors import RegbenchError
    from regbench.report import leaderboard

    problems = leaderboard.check(root, boards)
    for line in problems:
        echo(line)
    if problems:
        raise RegbenchError(
            "leaderboards do not match their results; fix what is listed, then `regbench leaderboard build`"
        )
    echo("up to date")


@command.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...", type=PathType())
@click.option("--board", required=True, help="Name of the board; it is made if it is new.")
@click.option("--failed", is_flag=True, help="Also take runs that are not ok, as rows that show the reason.")
@click.option("--replace", is_flag=True, help="Replace runs of the board by those of the same id and other numbers.")
@_root
def add(runs: tuple[Path, ...], board: str, failed: bool, replace: bool, root: Path) -> None:
    """Copy finished runs into a board; `leaderboard build` then writes its page."""
    from regbench.report import leaderboard

    for path in leaderboard.add(root, board, finished_runs(runs), failed=failed, replace=replace):
        echo(f"added {path}")


@command.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...", type=PathType())
@click.option("--board", help="Board that holds the runs; default: every one that does.")
@click.option("--data", type=PathType(), help="Folder of the data set in its published layout, or the file of a pack.")
@click.option("--set", "sets", multiple=True, metavar="dataset.NAME=VALUE", help="A setting of its reader. Repeatable.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@_root
def verify(
    runs: tuple[Path, ...], board: str | None, data: Path | None, sets: tuple[str, ...], device: str, root: Path
) -> None:
    """Estimate the test pairs of committed runs again from their weights, and mark their rows as recomputed.

    A run whose weights give other estimates is named, and nothing is marked. `leaderboard build` then writes the page.
    """
    from regbench.cli._shared.options import dataset_settings
    from regbench.errors import DataError
    from regbench.runs.recompute import recompute
    from regbench.runs.request import Request

    settings = {"dataset": dataset_settings(sets)} if sets else {}
    pack = data is not None and data.is_file()
    source = {"dataset": str(data)} if pack else {"dataset": "", "root": data}
    request = Request(registrator="", sets=settings, device=device, **source)
    wrong = []
    for run in finished_runs(runs):
        try:
            for found in recompute(run, root, [board] if board is not None else [], request):
                echo(f"recomputed {run}: {100 * found.agree:.1f} % of its estimates agree; wrote {found.mark}")
        except DataError as error:
            wrong.append(str(error))
            echo(str(error))
    if wrong:
        raise DataError(f"{len(wrong)} of {len(runs)} runs are not recomputed, the first because {wrong[0]}")


@command.command()
@_root
@_boards
def upgrade(root: Path, boards: tuple[str, ...]) -> None:
    """Compute results of an earlier metric version again from their pairs; `leaderboard build` then writes the pages.

    Run ids stay. A result whose pairs do not give its metrics is named and left as it is.
    """
    from regbench.errors import RegbenchError
    from regbench.report.upgrade import upgrade as upgrade_results

    written, left = upgrade_results(root, boards)
    for path in written:
        echo(f"upgraded {path}")
    for line in left:
        echo(f"left {line}")
    if left:
        raise RegbenchError(f"{len(left)} results stay of an earlier metric version; a board shows them as stale")
    if not written:
        echo("up to date")


@command.command()
@click.option(
    "--out",
    type=PathType(file_okay=False),
    default=Path("runs/boards"),
    show_default=True,
    help="Folder in which BOARD.html is written.",
)
@click.option("--pictures/--no-pictures", default=True, help="Show the best, median and worst pairs of embedded data.")
@_root
@_boards
def html(out: Path, pictures: bool, root: Path, boards: tuple[str, ...]) -> None:
    """Write boards as static pages, sortable and filterable, with curves and pairs; they need no network."""
    from regbench.report import leaderboard

    for path in leaderboard.write_html(root, boards, out, pictures=pictures):
        echo(f"wrote {path}")


@command.command()
@click.option("--format", "form", type=click.Choice(["csv", "latex"]), required=True)
@click.option("--out", type=PathType(dir_okay=False), help="File to write; default: standard output.")
@click.option("--columns", metavar="NAME,NAME,...",
              help="Of LaTeX; default: method,supervision,MACE,AUC@3,AUC@5,AUC@10,× identity.")  # fmt: skip
@_root
@_boards
def export(form: str, out: Path | None, columns: str | None, root: Path, boards: tuple[str, ...]) -> None:
    """Print boards as CSV (unrounded numbers) or LaTeX (booktabs, rows of rank 1 in bold).

    \b
    regbench leaderboard export --format latex --columns method,budget,MACE,AUC@3 campaign
    """
    from regbench.report import leaderboard
    from regbench.results import write_text

    chosen = {} if columns is None else {"columns": [name.strip() for name in columns.split(",")]}
    text = leaderboard.export(root, boards, "csv" if form == "csv" else "latex", **chosen)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
