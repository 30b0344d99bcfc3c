"""``regbench report``: one run as one page."""

from __future__ import annotations

from pathlib import Path

import click

from regbench.cli._shared.options import PathType, RunType, finished_runs
from regbench.cli._shared.output import echo


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=RunType())
@click.option("--out", type=PathType(dir_okay=False), help="The file to write, of one run; default: RUN/report.html.")
def command(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write each finished run as one self-contained HTML page.

    It holds the result, the errors of all pairs, the best, median and worst of them (embedded data), the translator's
    gallery, every setting and what to try next.

    \b
    regbench report runs/supervised-mcnet-… --out report.html
    """
    from regbench.errors import UsageError
    from regbench.report.run_page import run_page
    from regbench.results import write_text
    from regbench.results.layout import REPORT

    if out is not None and len(runs) > 1:
        raise UsageError(f"--out {out} is one file, and these are {len(runs)} runs; leave it out or name one run")
    for run in finished_runs(runs):
        path = out or run / REPORT
        write_text(path, run_page(run))
        echo(f"wrote {path}")
