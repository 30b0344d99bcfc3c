"""Options that several verbs share, and the parsing of their values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from regbench.cli._shared.output import echo
from regbench.errors import UsageError

Decorated = Callable[..., Any]


class PathType(click.Path):
    """A path, with the home folder in place of ``~``: a shell does not see it in ``--out=~/runs``."""

    def __init__(self, **kinds: bool) -> None:
        super().__init__(path_type=Path, **kinds)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Expand ``~``, then check as click does."""
        return super().convert(os.path.expanduser(value), param, ctx)


class Named(click.types.StringParamType):
    """The name of a component; the shell completes it.

    Args:
        roles: of the components, such as ``registrator``.
    """

    def __init__(self, *roles: str) -> None:
        self.roles = roles

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so, with what they are."""
        from regbench.plugins.registry import registry

        found = [component for role in self.roles for component in registry().all(role)]
        return [CompletionItem(c.name, help=c.summary) for c in found if c.name.startswith(incomplete)]


class RecipeType(PathType):
    """The name of a recipe that comes with regbench, or the path of one; the shell completes both."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin so; the shell's own paths where none does."""
        from regbench.ablation.shipped import titles

        found = [CompletionItem(name, help=title) for name, title in titles().items() if name.startswith(incomplete)]
        return found or super().shell_complete(ctx, param, incomplete)


class RunType(PathType):
    """The directory of a finished run, which one of its files may stand for; the shell completes it."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Finished runs in the folder begun, or in ``runs``; the shell's own paths where there are none."""
        from regbench.results.layout import RESULT

        parent = Path(incomplete).parent if os.sep in incomplete else Path("runs")
        runs = [str(path.parent) for path in sorted(parent.glob(f"*/{RESULT}"))]
        found = [CompletionItem(run) for run in runs if run.startswith(incomplete)]
        return found or super().shell_complete(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The directory; raises UsageError where a path is something else that is known."""
        from regbench.results.layout import RESULT, WEIGHTS

        path: Path = super().convert(value, param, ctx)
        if path.is_file() and (path.name == RESULT or (path.name == WEIGHTS and (path.parent / RESULT).is_file())):
            return path.parent
        if path.suffix in (".safetensors", ".pth", ".pt", ".ckpt") and not path.is_dir():
            raise UsageError(f"{path}: is a weights file, and a run directory is wanted; weights go with --weights")
        if path.is_dir() and not (path / RESULT).is_file() and (runs := sorted(path.glob(f"*/{RESULT}"))):
            raise UsageError(f"{path}: is no run but holds {len(runs)}, such as {runs[0].parent}; name one of them")
        return path


class WeightsType(PathType):
    """A weights file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The file; raises UsageError for a run directory."""
        from regbench.results.layout import WEIGHTS

        path: Path = super().convert(value, param, ctx)
        if path.is_dir():
            told = f"name {path / WEIGHTS}" if (path / WEIGHTS).is_file() else "name a weights file"
            raise UsageError(f"{path}: is a folder; {told}")
        return path


def data_options(function: Decorated) -> Decorated:
    """Add ``--dataset`` and ``--root``."""
    function = click.option("--root", type=PathType(), help="Folder of the data set in its published layout.")(function)
    return click.option(
        "--dataset",
        type=Named("dataset"),
        default="synthetic",
        show_default=True,
        help="Data set; `regbench datasets list` names them.",
    )(function)


def run_options(function: Decorated) -> Decorated:
    """Add the options of both ``run`` and ``evaluate``."""
    options = [
        click.option("--set", "sets", multiple=True, metavar="SECTION.NAME=VALUE",
                     help="A setting of translator, registrator, strategy, dataset, protocol or run. Repeatable."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything but the test pairs."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--out", type=PathType(file_okay=False), default=Path("runs"),
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
    from regbench.settings import parse_sets

    parsed = parse_sets(sets)
    if other := sorted(set(parsed) - {"dataset"}):
        raise UsageError(f"--set {other[0]}.…: here only the data set has settings, write dataset.NAME=VALUE")
    return parsed.get("dataset", {})


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of a list such as ``1,16``; raises UsageError."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text}: write whole numbers separated by commas, such as 1,16") from None


def named_values(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Values by name from a repeated ``NAME=VALUE`` option; raises UsageError."""
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"{option} {pair}: write NAME=VALUE")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def finished_runs(paths: Sequence[Path]) -> list[Path]:
    """The runs among paths, as ``runs/*`` gives them; what is none of many is skipped, with a line on stderr.

    A run is a directory with a ``result.json``, that file, or ``<run_id>.json`` of a board. A single path, and one that
    does not exist, is left for the verb to refuse.

    Raises:
        UsageError: none of several paths is a run.
    """
    from regbench.results.layout import RESULT

    runs, skipped = [], {}
    for path in dict.fromkeys(path.parent if path.name == RESULT else path for path in paths):
        reason = "" if len(paths) == 1 else _no_run(path, RESULT)
        if reason:
            skipped[path] = reason
        else:
            runs.append(path)
    if not runs:
        path, reason = next(iter(skipped.items()))
        raise UsageError(f"none of these {len(skipped)} paths is a finished run: {path} {reason}")
    for path, reason in skipped.items():
        echo(f"skipped {path}: {reason}", err=True)
    return runs


def _no_run(path: Path, record: str) -> str:
    """Why a path is no run; empty where it may be one."""
    if path.is_dir():
        if (path / record).exists():
            return ""
        inside = sum(1 for _ in path.glob(f"*/{record}")) + sum(1 for _ in path.glob(f"*/*/{record}"))
        return f"holds no {record}" + (f", but {inside} runs; name those to take them too" if inside else "")
    if not path.exists() or re.fullmatch(r"[0-9a-f]{12}\.json", path.name):
        return ""
    return "is no run directory and no <run_id>.json"
