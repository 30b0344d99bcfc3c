"""``regbench runs``: what was run in a folder, one run in words, and runs taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from regbench.cli._shared.options import PathType, RunType
from regbench.cli._shared.output import echo, echo_json

_folder = click.argument("folder", type=PathType(), default=Path("runs"))


@click.group("runs", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show and remove runs."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@command.command("list")
@_folder
@click.option("--json", "as_json", is_flag=True, help="Every metric and setting of every run.")
def list_(folder: Path = Path("runs"), as_json: bool = False) -> None:
    """List the runs at or below FOLDER (runs): what was combined, on what, with which result."""
    from regbench.errors import UsageError
    from regbench.metrics.corner import VERDICT_WORDS
    from regbench.results import records
    from regbench.results.schema import ROLES

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; `regbench run` makes runs, in `runs` unless --out says otherwise")
    found = records(folder)
    if as_json:
        echo_json(json.dumps(found, indent=1))
        return
    if not found:
        echo(f"no runs in {folder}")
        return
    from tabulate import tabulate

    rows = [
        [
            Path(r["folder"]).name,
            " x ".join(r[role] for role in ROLES if r[role]),
            r["test_dataset"],
            r["budget"],
            r["seed"],
            _number(r.get("mace")),
            _number(r.get("mace_over_identity")),
            VERDICT_WORDS.get(r["verdict"], r["verdict"]) if r["status"] == "ok" else r["status"],
        ]
        for r in found
    ]
    heads = ["run", "combination", "test set", "budget", "seed", "MACE", "x identity", ""]
    echo(tabulate(rows, heads, tablefmt="simple", disable_numparse=True))


@command.command("show")
@click.argument("run", type=RunType())
@click.option("--json", "as_json", is_flag=True)
def show(run: Path, as_json: bool) -> None:
    """Print the result of a finished run, and what else its directory holds."""
    from regbench.cli._shared.show import print_result
    from regbench.errors import RegbenchError
    from regbench.results import load_result
    from regbench.results.layout import RESULT

    result = load_result(run / RESULT)
    if result.status != "ok":
        raise RegbenchError(f"{run}: this run is {result.status}: {result.reason}")
    print_result(result, run, as_json)
    if not as_json:
        files = sorted(path.name for path in run.iterdir() if not path.name.startswith("."))
        echo(f"  files: {', '.join(files)}")


@command.command("rm")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=RunType())
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also runs that others here learned from.")
def remove(runs: tuple[Path, ...], yes: bool, force: bool) -> None:
    """Delete run directories; none that is at work, or that another run beside it learned from."""
    from regbench.results.removal import check_removable, remove_run

    check_removable(runs, force=force)
    if not yes:
        click.confirm(f"Delete {', '.join(map(str, runs))}?", abort=True, err=True)
    for run in runs:
        remove_run(run)
        echo(f"deleted {run}")


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"
