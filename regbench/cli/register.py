"""``regbench register``: the homography between two image files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from regbench.cli._options import PathType, RunType
from regbench.cli._output import echo, echo_json

MAX_SIDE = 2048
RANGE = (
    "Stored values of {} that are black and white: full, WHITE, LOW..HIGH or image:P; default: what the run recorded."
)


@click.command("register")
@click.argument("source", type=PathType())
@click.argument("target", type=PathType())
@click.option("--run", "finished", type=RunType(), help="Use the registrator of a finished run.")
@click.option("--registrator", help="Use a registrator that needs no training, such as sift.")
@click.option("--range-source", metavar="RULE", help=RANGE.format("SOURCE"))
@click.option("--range-target", metavar="RULE", help=RANGE.format("TARGET"))
@click.option(
    "--max-side",
    type=click.IntRange(16),
    default=MAX_SIDE,
    show_default=True,
    help="Larger images are shrunk to this longest side, px, for the method; the answer is in pixels of the files.",
)
@click.option("--device", default="auto", show_default=True)
@click.option("--overlay", type=PathType(), help="Write the warped source over the target (PNG).")
@click.option("--json", "as_json", is_flag=True)
def command(
    source: Path,
    target: Path,
    finished: Path | None,
    registrator: str | None,
    range_source: str | None,
    range_target: str | None,
    max_side: int,
    device: str,
    overlay: Path | None,
    as_json: bool,
) -> None:
    """Estimate the homography that maps pixels of SOURCE to pixels of TARGET (pixel centres, x then y).

    \b
    regbench register sar.png optical.png --run runs/supervised-mcnet-… --overlay seen.png
    """
    from regbench.tools.register_files import check_overlay, load_image, method_for, overlay_of, register_within

    if overlay is not None:
        check_overlay(overlay)
    method = method_for(finished, registrator, device)
    records = (range_source or method.ranges[0], range_target or method.ranges[1])
    moving, fixed = (load_image(path, record) for path, record in zip((source, target), records, strict=True))
    sides = {"source": (source, moving), "target": (target, fixed)}
    for side, (path, image) in sides.items():
        if image.little_used:
            echo(
                f"warning: {path} uses {100 * image.used:.1f} % of its range {image.values} ({image.how}), so it has "
                f"hardly any contrast; say which values are black and white: --range-{side} LOW..HIGH or image:0.5",
                err=True,
            )
        if max(image.pixels.shape[-2:]) > max_side:
            echo(f"{path} is shrunk to {max_side} px for {method.name} (--max-side)", err=True)
    homography, ok = register_within(method, moving.pixels, fixed.pixels, max_side)
    if overlay is not None:
        overlay_of(moving.pixels, fixed.pixels, homography, overlay)
    if as_json:
        ranges = {side: {"values": list(image.values), "how": image.how} for side, (_, image) in sides.items()}
        facts = {"ok": ok, "homography": (homography + 0.0).tolist(), "ranges": ranges, "max_side": max_side}
        echo_json(json.dumps(facts, allow_nan=False))
    else:
        for row in homography.tolist():
            echo("  ".join(f"{value + 0.0: .9g}" for value in row))
    if not ok:
        from regbench.errors import RegbenchError

        raise RegbenchError("the registrator found no answer for this pair; the matrix above is the identity")
