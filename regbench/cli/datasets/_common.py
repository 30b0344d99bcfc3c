"""What the verbs share: options, the settings of a reader, progress, and what is said of a pack."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from regbench.cli._shared.options import PathType, dataset_settings
from regbench.cli._shared.output import echo, echo_json

if TYPE_CHECKING:
    from regbench.data.packs.pack import Pack

root_option = click.option("--root", type=PathType(), help="Folder of the published layout.")
set_option = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the reader; dataset.KEY=VALUE works too.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def reader_settings(sets: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` and ``dataset.KEY=VALUE`` as the reader's settings; raises UsageError."""
    return dataset_settings([pair if "." in pair.partition("=")[0] else f"dataset.{pair}" for pair in sets])


def print_pack(pack: Pack, as_json: bool) -> None:
    """Print what a pack holds, and a warning on stderr where nothing may be trained on it."""
    if pack.seen:
        echo(f"warning: {pack.seen}", err=True)
    height, width = pack.size
    if as_json:
        facts = {
            "name": pack.name,
            "path": str(pack.path),
            "counts": dict(pack.counts),
            "modalities": list(pack.modalities),
            "channels": list(pack.channels),
            "height": height,
            "width": width,
            "aligned": pack.aligned,
            "size_rule": pack.size_rule,
            "ranges": dict(zip("ab", pack.recorded_ranges, strict=True)),
            "sha256": pack.sha256,
            "seen": pack.seen,
        }
        echo_json(json.dumps(facts, indent=2))
        return
    echo(f"pack    {pack.path}")
    echo(f"pairs   {pack.counts['train']} train, {pack.counts['test']} test, {width}x{height} px")
    echo(f"ranges  {', '.join(f'{m} {r}' for m, r in zip(pack.modalities, pack.recorded_ranges, strict=True))}")
    echo(f"sha256  {pack.sha256}")


def say_little_used(pack: Pack) -> None:
    """Tell, on stderr, which modalities use little of their value range."""
    from regbench.data.stats import range_warnings

    for line in range_warnings(pack):
        echo(line, err=True)


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on a terminal, a few plain lines a split elsewhere, both on stderr."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:>5}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            tasks: dict[str, Any] = {}

            def show(split: str, done: int, total: int) -> None:
                if split not in tasks:
                    tasks[split] = bar.add_task(split, total=total)
                bar.update(tasks[split], completed=done)

            yield show
    else:

        def say(split: str, done: int, total: int) -> None:
            if done == total or done % max(1, -(-total // 4)) == 0:
                echo(f"{split}: {done}/{total}", err=True)

        yield say
