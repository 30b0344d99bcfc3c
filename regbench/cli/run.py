"""``regbench run``: train one combination and judge it."""

from __future__ import annotations

from typing import Any

import click

from regbench.cli._shared.options import Named, RunType, WeightsType, run_options


@click.command("run")
@click.option(
    "--registrator",
    type=Named("registrator"),
    required=True,
    help="Estimates the homography; `regbench plugins list` names them.",
)
@click.option(
    "--strategy", type=Named("strategy"), help="How it is trained; without one the registrator is judged as it is."
)
@click.option(
    "--translator",
    type=Named("translator"),
    help="Renders the source in the target's modality, for strategies that need one.",
)
@click.option("--pairing", type=click.Choice(["frozen", "online", "given"]),
              help="Training pairs: fixed offsets (default), new ones at each visit, or really unaligned.")  # fmt: skip
@click.option("--budget", default="quick", show_default=True,
              help="smoke, quick, hour, short, full (published schedule and size) or a factor on full.")  # fmt: skip
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--teacher", type=RunType(), metavar="RUN",
              help="Directory of a finished run, for strategies that learn from one.")  # fmt: skip
@click.option("--weights", type=WeightsType(), help="Start the registrator from a weights file.")
@click.option("--confidence", is_flag=True, help="Also store how sure one can be of each estimate (0.1 s a pair).")
@run_options
def command(sets: tuple[str, ...], as_json: bool, quiet: bool, force: bool, **request: Any) -> None:
    """Train (if a strategy is named) and judge one combination.

    The same command resumes an interrupted run; it does not repeat a finished one.

    \b
    regbench run --registrator mcnet --strategy supervised
    regbench run --registrator mcnet --strategy self-supervised --dataset vedai --root VEDAI --budget full
    torchrun --nproc-per-node 2 -m regbench run --registrator mcnet --strategy supervised --budget full
    """
    from regbench.cli._shared.show import print_result
    from regbench.data.stats import range_warnings
    from regbench.distributed.processes import joined
    from regbench.runs.execute import execute
    from regbench.runs.plan import make_plan
    from regbench.runs.request import Request
    from regbench.settings import parse_sets
    from regbench.training.progress import reporter

    with joined() as world:
        report = reporter(quiet or not world.first)
        try:
            plan = make_plan(Request(sets=parse_sets(sets), force=force, **request), world=world)
            for line in range_warnings(plan.pack):
                report.say(line)
            report.say(f"run {plan.run_id} in {plan.folder}; budget {plan.budget.name}: {plan.budget.summary}")
            for stage in plan.stages:
                updates = ", ".join(stage.updated)
                report.say(f"  stage {stage.name}: {stage.steps} steps of {stage.batch}, updates {updates}")
            result = execute(plan, report, force=force)
        finally:
            report.close()
        if result is not None:  # the first process alone has one
            print_result(result, plan.folder, as_json)
