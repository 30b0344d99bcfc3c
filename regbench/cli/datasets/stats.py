"""``regbench datasets stats``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from regbench.cli._shared.options import Named
from regbench.cli._shared.output import echo, echo_json
from regbench.cli.datasets._common import (
    json_option,
    progress_bar,
    reader_settings,
    root_option,
    say_little_used,
    set_option,
)


@click.command("stats")
@click.argument("name", type=Named("dataset"))
@root_option
@set_option
@click.option("--most", default=500, show_default=True, type=click.IntRange(2), help="Pairs of a split to look at.")
@json_option
def command(name: str, root: Path | None, sets: tuple[str, ...], most: int, as_json: bool) -> None:
    """Measure gap, modalities and alignment, and look for images that are there twice, before a set is trusted.

    What pairs share and what each modality is like is told of 64 and 128 px patches, and of 64 px patches averaged
    over 2 x 2 px: correlation of grey values and of value-MIMs, agreement of edge orientations; mean and contrast of
    grey values in [0, 1], noise, equivalent number of looks, slope of the power spectrum, and its shares at
    wavelengths from 2 to 4, to 8, to 16 px, and above.
    """
    from regbench.cli.datasets._modalities import modality_lines
    from regbench.data.duplicates.alike import told
    from regbench.data.packs.prepare import ensure
    from regbench.data.stats import measure, range_use

    with progress_bar(quiet=as_json) as progress:
        pack = ensure(name, root=root, settings=reader_settings(sets), progress=progress)
    measured = {split: measure(pack, split, most) for split, count in pack.counts.items() if count}
    repeats = told(pack)
    uses = range_use(pack)
    say_little_used(pack)
    if as_json:
        document = {
            "name": pack.name,
            "sha256": pack.sha256,
            "ranges": [asdict(use) for use in uses],
            "splits": measured,
            "repeats": repeats,
        }
        echo_json(json.dumps(document, indent=2))
        return
    echo(f"{pack.name}: {pack.modalities[0]} / {pack.modalities[1]}, {pack.size[1]}x{pack.size[0]} px")
    for use in uses:
        echo(
            f"  range  {use.modality}: {use.rule}; 99 % of the pixels in {use.low:.6g}..{use.high:.6g}, "
            f"{100 * use.share:.1f} % of it"
        )
    for split, facts in measured.items():
        gap, residual = facts["gap"], facts["residual"]
        echo(
            f"  {split:<6} gap        edges {gap['edges']:.2f}  grey {gap['grey']:.2f}  information "
            f"{gap['information']:.2f}   (1: the same image, 0: nothing in common)"
        )
        for line in modality_lines(facts["modalities"], pack.modalities):
            echo(f"  {split:<6} {line}")
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
    for line in _repeats(repeats):
        echo(f"  {line}")


def _repeats(found: dict[str, Any], most: int = 5) -> Iterator[str]:
    """What is said of images that are nearly the same."""
    across, name = found["across"], "train and test"
    if not across:
        yield f"{name}: no image of one is nearly one of the other"
    else:
        count = f"{len(across)} images of test are" if len(across) > 1 else "an image of test is"
        yield f"{name}: {count} nearly one of train, so results may be too good:"
    for each in across[:most]:
        pair = f"{each['modality']} of test pair {each['test']!r} and of train pair {each['train']!r}"
        yield f"  {pair}, correlation {each['correlation']:.2f}"
    if len(across) > most:
        yield f"  and {len(across) - most} more (--json lists them)"
    if found["within"]:
        yield (
            f"test: {found['within']} of {found['images']} pairs have an image that is nearly one of another group; "
            "intervals take groups as independent and are too narrow then"
        )
