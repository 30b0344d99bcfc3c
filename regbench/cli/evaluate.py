"""``regbench evaluate``: judge a registrator without training it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from regbench.cli.options import run_options


@click.command("evaluate")
@click.option("--registrator", help="Judge this one as it is (needs --weights if it has to be trained).")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file from `regbench weights import`.")
@click.option("--run", "finished", type=click.Path(path_type=Path), help="Judge what a finished run deploys.")
@click.option("--budget", default=None, help="Whose protocol and sizes to use; default: full, or the run's.")
@run_options
def command(
    sets: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    force: bool,
    registrator: str | None,
    finished: Path | None,
    budget: str | None,
    **request: Any,
) -> None:
    """Judge a registrator as it is, with imported weights, or of a finished run (also on another data set).

    \b
    regbench evaluate --registrator mcnet --weights mcnet.safetensors --dataset mscoco --root mscoco2017
    regbench evaluate --run runs/supervised-mcnet-synthetic-0123456789ab --dataset vedai --root VEDAI
    """
    from regbench.cli import show
    from regbench.data.stats import range_warnings
    from regbench.errors import UsageError
    from regbench.results.store import RESULT, load_result
    from regbench.runs.execute import execute, other_ranges
    from regbench.runs.plan import Request, make_plan, transfer_plan
    from regbench.settings import parse_sets
    from regbench.training.progress import reporter

    if (registrator is None) == (finished is None):
        raise UsageError("name either --registrator NAME or --run DIR")
    report = reporter(quiet)
    try:
        if finished is not None:
            if request.pop("weights"):
                raise UsageError("--weights goes with --registrator; a run has its own")
            if budget is not None:
                raise UsageError("--budget goes with --registrator; a run is judged under its own protocol")
            plan = transfer_plan(finished, Request(registrator="", sets=parse_sets(sets), **request))
            for line in other_ranges(plan, load_result(finished / RESULT).training.get("ranges", {})):
                report.say(line)
        else:
            assert registrator is not None
            plan = make_plan(Request(registrator, budget=budget or "full", sets=parse_sets(sets), **request))
        for line in range_warnings(plan.pack):
            report.say(line)
        report.say(f"run {plan.run_id} in {plan.folder}: {len(plan.manifest.draws)} pairs of {plan.pack.name}")
        found = execute(plan, report, force=force)
    finally:
        report.close()
    show.result(found, plan.folder, as_json)
