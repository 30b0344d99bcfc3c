"""The recipes that come with regbench, by name: in a wheel inside the package, in a checkout under ``leaderboards``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from regbench.contained import safe_name
from regbench.errors import RegbenchError, UsageError, unknown_name
from regbench.report.printed import PAPER_FILES

_PACKAGE = Path(__file__).parents[1]
NEW = """\
title = "{title}"
description = "What is compared, and why."
datasets = ["synthetic"]   # names of `regbench datasets list`
seeds = [0, 1, 2]
budget = "quick"
pairing = "online"
registrator = "mcnet"      # of every row that names none
controls = true            # adds identity, a matcher, no translator, supervised

[[row]]
name = "CoLReg"
strategy = "colreg"
translator = "mimgcd"

[[row]]
name = "SCPNet"
strategy = "scpnet"
"""
"""What `regbench recipes new` writes; docs/reference/recipes.md has all keys."""


def folder() -> Path:
    """Where the shipped recipes are; raises RegbenchError where they were not installed."""
    for found in (_PACKAGE / "recipes", _PACKAGE.parent / "leaderboards" / "recipes"):
        if found.is_dir():
            return found
    raise RegbenchError(f"the recipes of regbench are missing at {_PACKAGE / 'recipes'}; install regbench again")


def titles() -> dict[str, str]:
    """Title of each shipped recipe by name, sorted."""
    found = sorted(folder().glob("*.toml"))
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["title"] for path in found}


def recipe_path(recipe: Path) -> Path:
    """The file of a recipe: a path as it is, or the name of a shipped one, such as ``colreg-table5``.

    A file of that name in the current folder comes first.

    Raises:
        UsageError: the word is no path and no recipe is called so.
    """
    if recipe.suffix or len(recipe.parts) > 1 or recipe.exists():
        return recipe
    return shipped_recipe(str(recipe))


def shipped_recipe(name: str) -> Path:
    """The file of a shipped recipe; raises UsageError where none is called so."""
    path = folder() / f"{name}.toml"
    if not path.is_file():
        raise unknown_name("recipe", name, titles(), "A recipe of your own is named by its path, as mine.toml.")
    return path


def new_recipe(name: str, like: str | None, parent: Path) -> Path:
    """Write a recipe to start from: a small one, or a copy of a shipped one with the numbers of its papers.

    Returns:
        The file, ``parent/NAME.toml``.

    Raises:
        UsageError: the name is no file name, a file is there already, or no recipe is called ``like``.
    """
    path = parent / f"{safe_name(name.removesuffix('.toml'), 'recipe')}.toml"
    if path.exists():
        raise UsageError(f"{path} is there already; nothing is written over")
    if like is None:
        text, papers = NEW.format(title=path.stem), []
    else:
        text = recipe_path(Path(like)).read_text(encoding="utf-8")
        papers = tomllib.loads(text).get("papers", [])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    for paper in papers:
        for file in PAPER_FILES:
            source, target = folder() / safe_name(paper, "paper") / file, path.parent / paper / file
            if source.is_file() and not target.exists():
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(source.read_bytes())
    return path
