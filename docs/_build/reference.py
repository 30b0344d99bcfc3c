"""Writes the pages and tables that follow from the code: ``python docs/_build/reference.py``.

A test compares what is committed with what this would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

DOCS = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))
from api_page import api_page  # noqa: E402  (beside this file)

_SETTINGS = re.compile(r"(<!-- settings of (\w+) (\S+) -->\n).*?(<!-- end -->)", re.S)


def pages() -> dict[Path, str]:
    """Every page that is written here, and every page with a table that is, by its path."""
    found = {
        DOCS / "reference" / "api.md": api_page(),
        DOCS / "reference" / "cli.md": cli_page(),
        DOCS / "reference" / "recipes.md": recipes_page(),
    }
    for path in sorted((DOCS / "methods").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        found[path] = _SETTINGS.sub(lambda m: m[1] + settings_table(m[2], m[3]) + m[4], text)
    return found


def cli_page() -> str:
    """The command line reference, from the commands themselves."""
    from regbench.cli import VERBS, app

    context = click.Context(app, info_name="regbench")
    parts = [
        "# Command line\n",
        "Written from the commands by `docs/_build/reference.py`. `regbench VERB --help` prints the same, and",
        "[environment variables](environment.md) are on a page of their own.\n",
    ]
    for verb in VERBS:
        command = app.get_command(context, verb)
        assert command is not None
        for name, found in _commands(f"regbench {verb}", command):
            parts.append(_command(name, found))
    return "\n".join(parts)


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None and not found.hidden:
                yield from _commands(f"{name} {sub}", found)


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, max_content_width=100)
    usage = " ".join(command.collect_usage_pieces(context))
    level = "##" if name.count(" ") == 1 else "###"
    lines = [f"{level} {name}\n", f"```text\n{name} {usage}\n```\n", *_help(command.help or "")]
    rows = [_option(p, context) for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _help(text: str) -> Iterator[str]:
    for paragraph in text.replace("\f", "").strip().split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            body = "\n".join(line.strip() for line in paragraph.splitlines()[1:])
            yield f"```text\n{body}\n```\n"
        else:
            yield _escaped(" ".join(paragraph.split())) + "\n"


def _option(option: click.Option, context: click.Context) -> str:
    names = " / ".join([", ".join(option.opts), *option.secondary_opts])
    shown = option.get_help_extra(context).get("default")
    told = " ".join((option.help or "").split())
    kind = "" if option.is_flag else f" {option.make_metavar(context)}"
    default = "" if option.is_flag or not shown else f" Default: `{shown}`."
    return f"| `{names}{_cell(kind)}` | {_cell(_escaped(told))}{default} |"


def recipes_page() -> str:
    """The keys of a recipe, from its models."""
    from regbench.ablation import recipe_file
    from regbench.ablation.recipe import RecipeRow
    from regbench.ablation.shipped import titles

    (example,) = re.findall(r"```toml.*?```", recipe_file.__doc__ or "", re.S)
    parts = [
        "# Recipes\n",
        "A recipe is a TOML file that says which combinations a table compares, on which data, with which seeds.",
        "`regbench ablate NAME` runs one that comes with regbench, `regbench ablate mine.toml` one of your own, which",
        "`regbench recipes new mine` writes. [Reproduce a table](../tutorials/reproduce-a-table.md) shows how. This",
        "page is written from the models that read the file, by `docs/_build/reference.py`.\n",
        f"{example}\n",
    ]
    of_file, of_grid = recipe_file.RecipeFile, recipe_file.Grid
    for head, model in (("Keys of the file", of_file), ("Keys of a row", RecipeRow), ("Keys of a grid", of_grid)):
        parts += [f"## {head}\n", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "needed" if field.is_required() else _value(field.default)
            told = " ".join((field.description or "").split()).replace("``", "`")
            parts.append(f"| `{name}` | {default} | {_cell(told)} |")
        parts.append("")
    parts += ["## Recipes that come with regbench\n", "| name | title |", "|---|---|"]
    parts += [f"| `{name}` | {_cell(title)} |" for name, title in titles().items()]
    return "\n".join(parts) + "\n"


def settings_table(role: str, name: str) -> str:
    """The settings of a component with their defaults and what they mean."""
    from regbench.plugins.registry import registry

    component = registry().get(role, name)
    lines = [f"| `{role}.…` | default | meaning |", "|---|---|---|"]
    for setting, field in component.load().Config.model_fields.items():
        default = component.config.get(setting, field.default)
        lines.append(f"| `{setting}` | {_value(default)} | {_cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if value in ("", (), {}):
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{'null' if value is None else text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
