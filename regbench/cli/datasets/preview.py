"""``regbench datasets preview``."""

from __future__ import annotations

from pathlib import Path

import click

from regbench.cli._shared.options import Named, PathType
from regbench.cli._shared.output import echo
from regbench.cli.datasets._common import progress_bar, reader_settings, root_option, say_little_used, set_option


@click.command("preview")
@click.argument("name", type=Named("dataset"))
@root_option
@set_option
@click.option("--out", type=PathType(), help="PDF, PNG or SVG to write; default NAME.png.")
@click.option("--count", default=6, show_default=True, type=click.IntRange(1, 50), help="Pairs to show.")
def command(name: str, root: Path | None, sets: tuple[str, ...], out: Path | None, count: int) -> None:
    """Write a contact sheet: both images, overlays that show misalignment, a training example.

    Images have the contrast that training and evaluation see.
    """
    from regbench.data.packs.prepare import ensure
    from regbench.report.figures.contact_sheet import contact_sheet
    from regbench.report.figures.files import check_suffix

    out = out or Path(f"{name}.png")
    check_suffix(out)
    with progress_bar() as progress:
        pack = ensure(name, root=root, settings=reader_settings(sets), progress=progress)
    say_little_used(pack)
    contact_sheet(pack, out, count)
    echo(str(out))
