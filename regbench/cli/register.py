"""``regbench register``: the homography between two image files."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("register")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--run", "finished", type=click.Path(path_type=Path), help="Use the registrator of a finished run.")
@click.option("--registrator", help="Use a registrator that needs no training, such as sift.")
@click.option("--device", default="auto", show_default=True)
@click.option("--overlay", type=click.Path(path_type=Path), help="Write the warped source over the target (PNG).")
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
        click.echo(json.dumps({"ok": ok, "homography": homography.tolist()}))
        return
    for row in homography.tolist():
        click.echo("  ".join(f"{value: .9g}" for value in row))
    if not ok:
        from regbench.errors import RegbenchError

        raise RegbenchError("the registrator found no answer for this pair; the matrix above is the identity")
