"""``regbench datasets verify``."""

from __future__ import annotations

from pathlib import Path

import click

from regbench.cli.datasets._common import json_option, print_pack, reader_settings, root_option, set_option


@click.command("verify")
@click.argument("name_or_file")
@root_option
@set_option
@json_option
def command(name_or_file: str, root: Path | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Hash a pack again and compare it with what was prepared."""
    from regbench.data.packs.pack import Pack
    from regbench.data.packs.prepare import find

    path = Path(name_or_file).expanduser()
    if path.is_file() or path.suffix == ".h5":
        pack = Pack.open(path)
    else:
        pack = find(name_or_file, root=root, settings=reader_settings(sets))
    pack.verify()
    print_pack(pack, as_json)
