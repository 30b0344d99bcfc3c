"""``regbench datasets stats``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from regbench.cli.datasets._common import json_option, progress_bar, reader_settings, root_option, set_option


@click.command("stats")
@click.argument("name")
@root_option
@set_option
@click.option("--most", default=500, show_default=True, type=click.IntRange(2), help="Pairs of a split to look at.")
@json_option
def command(name: str, root: Path | None, sets: tuple[str, ...], most: int, as_json: bool) -> None:
    """Measure the modality gap, each modality, and how well the pairs are aligned, before the set is trusted.

    What pairs share and what each modality is like is told of 64 and 128 px patches, and of 64 px patches averaged
    over 2 x 2 px: correlation of grey values and of value-MIMs, agreement of edge orientations; mean and contrast of
    grey values in [0, 1], noise, equivalent number of looks, slope of the power spectrum, and its shares at
    wavelengths from 2 to 4, to 8, to 16 px, and above.
    """
    from regbench.cli.datasets._modalities import modality_lines
    from regbench.data.prepare import ensure
    from regbench.data.stats import measure

    with progress_bar(quiet=as_json) as progress:
        pack = ensure(name, root=root, settings=reader_settings(sets), progress=progress)
    measured = {split: measure(pack, split, most) for split, count in pack.counts.items() if count}
    if as_json:
        click.echo(json.dumps({"name": pack.name, "sha256": pack.sha256, "splits": measured}, indent=2))
        return
    click.echo(f"{pack.name}: {pack.modalities[0]} / {pack.modalities[1]}, {pack.size[1]}x{pack.size[0]} px")
    for split, facts in measured.items():
        gap, residual = facts["gap"], facts["residual"]
        click.echo(
            f"  {split:<6} gap        edges {gap['edges']:.2f}  grey {gap['grey']:.2f}  information "
            f"{gap['information']:.2f}   (1: the same image, 0: nothing in common)"
        )
        for line in modality_lines(facts["modalities"], pack.modalities):
            click.echo(f"  {split:<6} {line}")
        if residual is None:
            click.echo(f"  {split:<6} alignment  unaligned pairs without labels: nothing to check")
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
        click.echo(f"  {split:<6} alignment  {residual['verdict']}: {numbers}{share}")
