"""Options that several verbs share, and the parsing of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

Decorated = Callable[..., Any]


def data_options(function: Decorated) -> Decorated:
    """Add ``--dataset`` and ``--root``."""
    function = click.option(
        "--root", type=click.Path(path_type=Path), help="Folder of the data set in its published layout."
    )(function)
    return click.option(
        "--dataset", default="synthetic", show_default=True, help="Data set; `regbench datasets list` names them."
    )(function)


def run_options(function: Decorated) -> Decorated:
    """Add the options of both ``run`` and ``evaluate``."""
    options = [
        click.option("--set", "sets", multiple=True, metavar="SECTION.NAME=VALUE",
                     help="A setting of translator, registrator, strategy, dataset, protocol or run. Repeatable."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything but the test pairs."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"),
                     show_default=True, help="Parent of run directories."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--force", is_flag=True,
                     help="Run again even if the result is there; read a changed data set again."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return data_options(function)


def dataset_settings(sets: Sequence[str]) -> dict[str, Any]:
    """Settings by name from ``--set dataset.NAME=VALUE``; raises UsageError for another section."""
    from regbench.errors import UsageError
    from regbench.settings import parse_sets

    parsed = parse_sets(sets)
    if other := sorted(set(parsed) - {"dataset"}):
        raise UsageError(f"--set {other[0]}.…: here only the data set has settings, write dataset.NAME=VALUE")
    return parsed.get("dataset", {})


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of a list such as ``1,16``; raises UsageError."""
    from regbench.errors import UsageError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text}: write whole numbers separated by commas, such as 1,16") from None


def named_values(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Values by name from a repeated ``NAME=VALUE`` option; raises UsageError."""
    from regbench.errors import UsageError

    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"{option} {pair}: write NAME=VALUE")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
