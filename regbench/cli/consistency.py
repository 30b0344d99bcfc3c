"""``regbench consistency``: how far finished runs agree with each other where no truth says who is right."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import click


@click.command("consistency")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare the estimates of finished runs on the same test pairs, two by two. Needs no labels.

    \b
    regbench consistency runs/as-is-sift-folder-… runs/as-is-ecc-folder-…
    """
    from regbench.errors import UsageError
    from regbench.evaluation.label_free import consistency

    if len(runs) < 2:
        raise UsageError("consistency compares runs: name at least two run directories")
    found = [consistency(a, b) for a, b in combinations(runs, 2)]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for entry in found:
        names = " and ".join(f"{n} ({r})" for n, r in zip(entry["registrators"], entry["runs"], strict=True))
        if entry["median"] is None:
            click.echo(f"{names}: no pair both found, of {entry['of']}")
            continue
        click.echo(
            f"{names}: {entry['median']:.2f} px apart in the median, {entry['p90']:.2f} px at 90 %, "
            f"{entry['within_3']:.1f} % within 3 px; {entry['pairs']} of {entry['of']} pairs found by both"
        )
    click.echo("agreement is no proof: two methods may be wrong in the same way")
