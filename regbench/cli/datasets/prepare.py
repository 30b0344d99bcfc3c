"""``regbench datasets prepare``."""

from __future__ import annotations

from pathlib import Path

import click

from regbench.cli._shared.options import Named
from regbench.cli.datasets._common import (
    json_option,
    print_pack,
    progress_bar,
    reader_settings,
    root_option,
    say_little_used,
    set_option,
)


@click.command("prepare")
@click.argument("name", type=Named("dataset"))
@root_option
@set_option
@click.option("--force", is_flag=True, help="Read the images again even if the pack is there.")
@click.option("--workers", type=click.IntRange(1, 256), help="Threads that decode; default: one a core.")
@json_option
def command(
    name: str, root: Path | None, sets: tuple[str, ...], force: bool, workers: int | None, as_json: bool
) -> None:
    """Read a data set once and write its pack; a killed run continues where it stopped.

    A pack that is there is kept unless it is damaged or its files have changed; then they are read again.
    """
    from regbench.data.packs.prepare import ensure

    settings = reader_settings(sets)
    with progress_bar(quiet=as_json) as progress:
        pack = ensure(name, root=root, settings=settings, progress=progress, force=force, renew=True, workers=workers)
    print_pack(pack, as_json)
    say_little_used(pack)
