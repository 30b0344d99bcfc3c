"""``regbench datasets``: what can be read, what it is, and packs made, checked and looked at; one module a verb."""

from __future__ import annotations

import click

from regbench.cli.datasets import info, list, prepare, preview, stats, verify


@click.group()
def command() -> None:
    """List, describe, prepare, verify, preview and measure data sets."""


for _verb in (list, info, prepare, verify, preview, stats):
    command.add_command(_verb.command)
