"""``regbench datasets stats``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from regbench.cli._output import echo, echo_json
from regbench.cli.datasets._common import json_option, progress_bar, reader_settings, root_option, set_option


@click.command("stats")
@click.argument("name")
@root_option
@set_option
@click.option("--most", default=500, show_default=True, type=click.IntRange(2), help="Pairs of a split to look at.")
@json_option
def command(name: str, root: Path | None, sets: tuple[str, ...], most: int, as_json: bool) -> None:
    """Measure the modality gap and how well the pairs are aligned, before the set is trusted."""
    from regbench.data.prepare import ensure
    from regbench.data.stats import measure

    with progress_bar(quiet=as_json) as progress:
        pack = ensure(name, root=root, settings=reader_settings(sets), progress=progress)
    measured = {split: measure(pack, split, most) for split, count in pack.counts.items() if count}
    if as_json:
        echo_json(json.dumps({"name": pack.name, "sha256": pack.sha256, "splits": measured}, indent=2))
        return
    echo(f"{pack.name}: {pack.modalities[0]} / {pack.modalities[1]}, {pack.size[1]}x{pack.size[0]} px")
    for split, facts in measured.items():
        gap, residual = facts["gap"], facts["residual"]
        echo(
            f"  {split:<6} gap        edges {gap['edges']:.2f}  grey {gap['grey']:.2f}  information "
            f"{gap['information']:.2f}   (1: the same image, 0: nothing in common)"
        )
        if residual is None:
            echo(f"  {split:<6} alignment  unaligned pairs without labels: nothing to check")
            continue
        share = f"{residual['measured']} of {residual['pairs']} pairs measured"
        numbers = (
            ""
            if residual["median"] is None
            else (
                f"shift left {residual['median']:.2f} px (median), {residual['p90']:.2f} (90 %), "
                f"{residual['largest']:.2f} (largest); mean ({residual['mean_x']:+.2f}, {residual['mean_y']:+.2f}); "
            )
        )
        echo(f"  {split:<6} alignment  {residual['verdict']}: {numbers}{share}")
