"""``regbench recipes``: the tables and figures that can be reproduced."""

from __future__ import annotations

import json
from pathlib import Path

import click

from regbench.cli._shared.options import PathType, RecipeType
from regbench.cli._shared.output import echo, echo_json


@click.group("recipes", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show and start recipes, which `regbench ablate` runs."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@command.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool = False) -> None:
    """List the recipes that come with regbench; `regbench ablate NAME` runs one."""
    from regbench.ablation.shipped import titles

    found = titles()
    if as_json:
        echo_json(json.dumps(found, indent=1))
        return
    width = max(map(len, found))
    for name, title in found.items():
        echo(f"{name:<{width}}  {title}")


@command.command("show")
@click.argument("name", type=RecipeType())
def show(name: Path) -> None:
    """Print a recipe, by its name or its path."""
    from regbench.ablation.recipe_file import read_recipe
    from regbench.ablation.shipped import recipe_path

    path = recipe_path(name)
    recipe = read_recipe(path)
    cells = sum(len(row.seeds) for row in recipe.rows) * len(recipe.datasets)
    echo(f"# {path}: {len(recipe.rows)} rows with the controls, {cells} cells, on {', '.join(recipe.datasets)}")
    echo(path.read_text(encoding="utf-8"), nl=False)


@command.command("new")
@click.argument("name")
@click.option("--like", type=RecipeType(), metavar="RECIPE",
              help="Copy this shipped recipe, with the numbers of its papers.")  # fmt: skip
@click.option("--out", type=PathType(file_okay=False), default=Path("."), show_default=True, help="Folder of the file.")
def new(name: str, like: Path | None, out: Path) -> None:
    """Write NAME.toml, a recipe to change.

    \b
    regbench recipes new mine --like colreg-table5
    regbench ablate mine.toml --dry-run
    """
    from regbench.ablation.shipped import new_recipe

    path = new_recipe(name, None if like is None else str(like), out)
    echo(f"wrote {path}; next: regbench ablate {path} --dry-run")
