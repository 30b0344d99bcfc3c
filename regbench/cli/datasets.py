"""``regbench datasets``: what can be read, what it is, and packs made, checked and looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regbench.data.pack import Pack
    from regbench.plugins.registry import Component

_root = click.option("--root", type=click.Path(path_type=Path), help="Folder of the published layout.")
_set = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the reader; dataset.KEY=VALUE works too.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@click.group()
def command() -> None:
    """List, describe, prepare, verify, preview and measure data sets."""


@command.command("list")
@_json
def list_(as_json: bool) -> None:
    """List every data set that can be read."""
    from regbench.plugins.registry import registry

    rows = [_row(component) for component in registry().all("dataset")]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    table = Table("name", "modalities", "needs --root", "what it is", "from", box=None, header_style="bold")
    for row in rows:
        modalities = " / ".join(row["modalities"]) or "-"
        needs = {True: "yes", False: "no", None: "-"}[row["needs_root"]]
        what = f"cannot be loaded: {row['error']}" if row["error"] else row["summary"]
        table.add_row(row["name"], modalities, needs, what, row["distribution"])
    _print(table)


@command.command()
@click.argument("name")
@_json
def info(name: str, as_json: bool) -> None:
    """Describe a data set: its card, its settings, and the folder it expects."""
    from regbench.plugins.registry import registry

    component = registry().get("dataset", name)
    cls = component.load()
    card = cls.card.model_dump(mode="json")
    settings = _settings(cls.Config, component.config)
    if as_json:
        told = {"name": name, "distribution": component.distribution, "version": component.version}
        click.echo(json.dumps(told | {"needs_root": cls.needs_root, "card": card, "settings": settings}, indent=2))
        return
    click.echo(f"{name} ({component.distribution} {component.version}): {component.summary}\n")
    card["modalities"] = " / ".join(card["modalities"])
    layout = card.pop("layout")
    for key, value in card.items():
        click.echo(f"{key.replace('_', ' '):<12} {value}")
    click.echo("\nlayout\n" + "\n".join(f"  {line}" for line in layout.splitlines()))
    if settings:
        click.echo("\nsettings (--set dataset.KEY=VALUE)")
    for key, field in settings.items():
        click.echo(f"  {key} = {json.dumps(field['default'])}  ({field['type']}) {field['description']}".rstrip())


@command.command()
@click.argument("name")
@_root
@_set
@click.option("--force", is_flag=True, help="Read the images again even if the pack is there.")
@click.option("--workers", type=click.IntRange(1, 256), help="Threads that decode; default: one a core.")
@_json
def prepare(
    name: str, root: Path | None, sets: tuple[str, ...], force: bool, workers: int | None, as_json: bool
) -> None:
    """Read a data set once and write its pack; a killed run continues where it stopped."""
    from regbench.data.pack import ensure, find
    from regbench.errors import DataError

    settings = _parsed(sets)
    if not force:
        try:
            find(name, root=root, settings=settings)
        except DataError:
            force = True  # absent, or damaged: make it
    with _progress(quiet=as_json) as progress:
        pack = ensure(name, root=root, settings=settings, progress=progress, force=force, workers=workers)
    _tell(pack, as_json)


@command.command()
@click.argument("name_or_file")
@_root
@_set
@_json
def verify(name_or_file: str, root: Path | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Hash a pack again and compare it with what was prepared."""
    from regbench.data.pack import Pack, find

    path = Path(name_or_file)
    if path.is_file() or path.suffix == ".h5":
        pack = Pack.open(path)
    else:
        pack = find(name_or_file, root=root, settings=_parsed(sets))
    pack.verify()
    _tell(pack, as_json)


@command.command()
@click.argument("name")
@_root
@_set
@click.option("--out", type=click.Path(path_type=Path), help="Picture to write; default NAME.png.")
@click.option("--count", default=6, show_default=True, type=click.IntRange(1, 50), help="Pairs to show.")
def preview(name: str, root: Path | None, sets: tuple[str, ...], out: Path | None, count: int) -> None:
    """Write a contact sheet: both images, overlays that show misalignment, a training example."""
    from regbench.data.pack import ensure
    from regbench.report.figures.contact_sheet import contact_sheet

    with _progress() as progress:
        pack = ensure(name, root=root, settings=_parsed(sets), progress=progress)
    out = out or Path(f"{name}.png")
    contact_sheet(pack, out, count)
    click.echo(str(out))


@command.command()
@click.argument("name")
@_root
@_set
@click.option("--most", default=500, show_default=True, type=click.IntRange(2), help="Pairs of a split to look at.")
@_json
def stats(name: str, root: Path | None, sets: tuple[str, ...], most: int, as_json: bool) -> None:
    """Measure the modality gap and how well the pairs are aligned, before the set is trusted."""
    from regbench.data.pack import ensure
    from regbench.data.stats import measure

    with _progress(quiet=as_json) as progress:
        pack = ensure(name, root=root, settings=_parsed(sets), progress=progress)
    found = {split: measure(pack, split, most) for split, count in pack.counts.items() if count}
    if as_json:
        click.echo(json.dumps({"name": pack.name, "sha256": pack.sha256, "splits": found}, indent=2))
        return
    click.echo(f"{pack.name}: {pack.modalities[0]} / {pack.modalities[1]}, {pack.size[1]}x{pack.size[0]} px")
    for split, told in found.items():
        gap, residual = told["gap"], told["residual"]
        click.echo(
            f"  {split:<6} gap        edges {gap['edges']:.2f}  grey {gap['grey']:.2f}  information "
            f"{gap['information']:.2f}   (1: the same image, 0: nothing in common)"
        )
        if residual is None:
            click.echo(f"  {split:<6} alignment  unaligned pairs without labels: nothing to check")
            continue
        measured = f"{residual['measured']} of {residual['pairs']} pairs measured"
        numbers = (
            ""
            if residual["median"] is None
            else (
                f"shift left {residual['median']:.2f} px (median), {residual['p90']:.2f} (90 %), "
                f"{residual['largest']:.2f} (largest); mean ({residual['mean_x']:+.2f}, {residual['mean_y']:+.2f}); "
            )
        )
        click.echo(f"  {split:<6} alignment  {residual['verdict']}: {numbers}{measured}")


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


def _settings(config: Any, alias: Any) -> dict[str, dict[str, Any]]:
    """Name, default, type and description of each setting; an alias's own values are its defaults."""
    properties = config.model_json_schema().get("properties", {})
    return {
        name: {
            "default": alias.get(name, about.get("default")),
            "type": _type(about),
            "description": about.get("description", ""),
        }
        for name, about in properties.items()
    }


def _type(about: dict[str, Any]) -> str:
    """A JSON-schema type in words."""
    if "anyOf" in about:
        return " or ".join(_type(option) for option in about["anyOf"])
    if "enum" in about:
        return " | ".join(str(value) for value in about["enum"])
    return str(about.get("type", "any"))


def _parsed(sets: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` and ``dataset.KEY=VALUE`` to settings; raises UsageError."""
    from regbench.errors import UsageError
    from regbench.settings import parse_sets

    full = [pair if "." in pair.partition("=")[0] else f"dataset.{pair}" for pair in sets]
    parsed = parse_sets(full)
    if other := sorted(set(parsed) - {"dataset"}):
        raise UsageError(f"--set {other[0]}.…: here only the data set has settings, write dataset.KEY=VALUE")
    return parsed.get("dataset", {})


def _tell(pack: Pack, as_json: bool) -> None:
    """Say what a pack holds."""
    height, width = pack.size
    if as_json:
        told = {
            "name": pack.name,
            "path": str(pack.path),
            "counts": dict(pack.counts),
            "modalities": list(pack.modalities),
            "channels": list(pack.channels),
            "height": height,
            "width": width,
            "aligned": pack.aligned,
            "size_rule": pack.size_rule,
            "sha256": pack.sha256,
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"pack    {pack.path}")
    click.echo(f"pairs   {pack.counts['train']} train, {pack.counts['test']} test, {width}x{height} px")
    click.echo(f"sha256  {pack.sha256}")


@contextmanager
def _progress(quiet: bool = False) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on a terminal, a few plain lines a split elsewhere, both on stderr."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:>5}"),
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
                click.echo(f"{split}: {done}/{total}", err=True)

        yield say


def _print(table: Any) -> None:
    """Print a rich table; not squeezed into 80 columns when piped."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(table)
