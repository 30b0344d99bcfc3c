"""``regbench run``: train one combination and judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from regbench.cli.options import run_options


@click.command("run")
@click.option("--registrator", required=True, help="Estimates the homography; `regbench plugins list` names them.")
@click.option("--strategy", help="How it is trained; without one the registrator is judged as it is.")
@click.option("--translator", help="Renders the source in the target's modality, for strategies that use one.")
@click.option("--pairing", type=click.Choice(["frozen", "online", "given"]),
              help="Training pairs: fixed offsets (default), new ones at each visit, or really unaligned.")  # fmt: skip
@click.option("--budget", default="quick", show_default=True,
              help="smoke, quick, short, full (the published schedule and size) or a factor on full.")  # fmt: skip
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--teacher", type=click.Path(path_type=Path, file_okay=False), metavar="RUN",
              help="Directory of a finished run, for strategies that learn from one.")  # fmt: skip
@click.option("--weights", type=click.Path(path_type=Path), help="Start the registrator from a weights file.")
@run_options
def command(sets: tuple[str, ...], as_json: bool, quiet: bool, force: bool, **request: Any) -> None:
    """Train (if a strategy is named) and judge one combination.

    An interrupted run resumes when the same command is given again; a finished one is not repeated.

    \b
    regbench run --registrator mcnet --strategy supervised
    regbench run --registrator mcnet --strategy self-supervised --dataset vedai --root VEDAI --budget full
    torchrun --nproc-per-node 2 -m regbench run --registrator mcnet --strategy supervised --budget full
    """
    from regbench.cli import show
    from regbench.data.stats import range_warnings
    from regbench.distributed.processes import joined
    from regbench.runs.execute import assist, execute
    from regbench.runs.plan import Request, make_plan
    from regbench.settings import parse_sets
    from regbench.training.progress import reporter

    with joined() as world:
        report = reporter(quiet or not world.first)
        try:
            plan = make_plan(Request(sets=parse_sets(sets), **request), world=world)
            if not world.first:
                assist(plan)
                return
            for line in range_warnings(plan.pack):
                report.say(line)
            report.say(f"run {plan.run_id} in {plan.folder}; budget {plan.budget.name}: {plan.budget.summary}")
            for stage in plan.stages:
                updates = ", ".join(stage.updated)
                report.say(f"  stage {stage.name}: {stage.steps} steps of {stage.batch}, updates {updates}")
            found = execute(plan, report, force=force)
        finally:
            report.close()
        show.result(found, plan.folder, as_json)
