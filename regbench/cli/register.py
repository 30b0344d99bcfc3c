"""``regbench register``: the homography between two image files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from regbench.cli._options import PathType, RunType
from regbench.cli._output import echo, echo_json


@click.command("register")
@click.argument("source", type=PathType())
@click.argument("target", type=PathType())
@click.option("--run", "finished", type=RunType(), help="Use the registrator of a finished run.")
@click.option("--registrator", help="Use a registrator that needs no training, such as sift.")
@click.option("--device", default="auto", show_default=True)
@click.option("--overlay", type=PathType(), help="Write the warped source over the target (PNG).")
@click.option("--json", "as_json", is_flag=True)
def command(
    source: Path,
    target: Path,
    finished: Path | None,
    registrator: str | None,
    device: str,
    overlay: Path | None,
    as_json: bool,
) -> None:
    """Estimate the homography that maps pixels of SOURCE to pixels of TARGET (pixel centres, x then y).

    \b
    regbench register sar.png optical.png --run runs/supervised-mcnet-… --overlay seen.png
    """
    from regbench.tools.register_files import load_image, overlay_of, registrator_for

    register = registrator_for(finished, registrator, device)
    source_image, target_image = load_image(source), load_image(target)
    homography, ok = register(source_image, target_image)
    if overlay is not None:
        overlay_of(source_image, target_image, homography, overlay)
    if as_json:
        echo_json(json.dumps({"ok": ok, "homography": (homography + 0.0).tolist()}))
        return
    for row in homography.tolist():
        echo("  ".join(f"{value + 0.0: .9g}" for value in row))
    if not ok:
        from regbench.errors import RegbenchError

        raise RegbenchError("the registrator found no answer for this pair; the matrix above is the identity")
