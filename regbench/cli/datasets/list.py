"""``regbench datasets list``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from regbench.cli._shared.output import echo_json
from regbench.cli.datasets._common import json_option
from regbench.texts import printable

if TYPE_CHECKING:
    from regbench.plugins.registry import Component


@click.command("list")
@json_option
def command(as_json: bool) -> None:
    """List every data set that can be read."""
    from regbench.plugins.registry import registry

    rows = [_row(component) for component in registry().all("dataset")]
    if as_json:
        echo_json(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "modalities", "needs --root", "what it is", "from", box=None, header_style="bold")
    for row in rows:
        modalities = " / ".join(row["modalities"]) or "-"
        needs = {True: "yes", False: "no", None: "-"}[row["needs_root"]]
        what = f"cannot be loaded: {row['error']}" if row["error"] else row["summary"]
        table.add_row(*map(printable, (row["name"], modalities, needs, what, row["distribution"])))
    # Not squeezed into 80 columns where the output is piped.
    width = None if sys.stdout.isatty() else 160
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)


def _row(component: Component) -> dict[str, Any]:
    """One line of the list; a reader that cannot be imported is a line that says why."""
    from regbench.errors import PluginError

    row: dict[str, Any] = {
        "name": component.name,
        "modalities": [],
        "needs_root": None,
        "summary": component.summary,
        "distribution": component.distribution,
        "version": component.version,
        "error": None,
    }
    try:
        cls = component.load()
    except PluginError as error:
        return row | {"error": str(error)}
    return row | {"modalities": list(cls.card.modalities), "needs_root": cls.needs_root}
