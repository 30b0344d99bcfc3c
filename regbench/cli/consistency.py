"""``regbench consistency``: how far the estimates of finished runs agree, without labels."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import click

from regbench.cli._shared.options import PathType, finished_runs
from regbench.cli._shared.output import echo, echo_json


@click.command("consistency")
@click.argument("runs", nargs=-1, required=True, type=PathType())
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare the estimates of finished runs on the same test pairs, each run with each other. Needs no labels.

    \b
    regbench consistency runs/as-is-sift-folder-… runs/as-is-ecc-folder-…
    """
    from regbench.errors import UsageError
    from regbench.evaluation.label_free import consistency

    chosen = finished_runs(runs)
    if len(chosen) < 2:
        raise UsageError("consistency compares runs: name at least two run directories")
    comparisons = [consistency(a, b) for a, b in combinations(chosen, 2)]
    if as_json:
        echo_json(json.dumps(comparisons, indent=1))
        return
    for comparison in comparisons:
        names = " and ".join(
            f"{registrator} ({run})"
            for registrator, run in zip(comparison["registrators"], comparison["runs"], strict=True)
        )
        if comparison["median"] is None:
            echo(f"{names}: none of {comparison['of']} pairs was answered by both")
            continue
        echo(
            f"{names}: {comparison['median']:.2f} px apart in the median, {comparison['p90']:.2f} px at 90 %, "
            f"{comparison['within_3']:.1f} % within 3 px; {comparison['pairs']} of {comparison['of']} pairs answered "
            "by both"
        )
    echo("agreement is no proof: two methods may be wrong in the same way")
