"""``regbench evaluate``: judge a registrator without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from regbench.cli._shared.options import Named, RunType, WeightsType, run_options


@click.command("evaluate")
@click.option(
    "--registrator",
    type=Named("registrator"),
    help="Judge this registrator as it is (with --weights if it has to be trained).",
)
@click.option("--weights", type=WeightsType(), help="Weights file from `regbench weights import`.")
@click.option("--run", "finished", type=RunType(), help="Judge what a finished run deploys.")
@click.option("--budget", default=None, help="Budget whose protocol and sizes to use; default: full, or the run's.")
@click.option("--confidence", is_flag=True, help="Also store how sure one can be of each estimate (0.1 s a pair).")
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
    """Judge a registrator as it is, with imported weights, or from a finished run, also on another data set.

    \b
    regbench evaluate --registrator mcnet --weights mcnet.safetensors --dataset mscoco --root mscoco2017
    regbench evaluate --run runs/supervised-mcnet-synthetic-0123456789ab --dataset vedai --root VEDAI
    """
    from regbench.cli._shared.show import print_result
    from regbench.data.stats import range_warnings
    from regbench.errors import UsageError
    from regbench.results.layout import RESULT
    from regbench.results.store import load_result
    from regbench.runs.execute import execute
    from regbench.runs.plan import make_plan, transfer_plan
    from regbench.runs.record import other_ranges
    from regbench.runs.request import Request
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
            plan = transfer_plan(finished, Request(registrator="", sets=parse_sets(sets), force=force, **request))
            for line in other_ranges(plan, load_result(finished / RESULT).training.get("ranges", {})):
                report.say(line)
        else:
            assert registrator is not None
            plan = make_plan(
                Request(registrator, budget=budget or "full", sets=parse_sets(sets), force=force, **request)
            )
        for line in range_warnings(plan.pack):
            report.say(line)
        report.say(f"run {plan.run_id} in {plan.folder}: {len(plan.manifest.draws)} pairs of {plan.pack.name}")
        result = execute(plan, report, force=force)
        assert result is not None  # there is one process
    finally:
        report.close()
    print_result(result, plan.folder, as_json)
