"""The recipes that are shipped can be read, and name what exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from regbench.ablation.cells import cells_of
from regbench.ablation.recipe import read_recipe
from regbench.plugins.registry import registry
from regbench.report.printed import load_paper

FOLDER = Path(__file__).parents[2] / "leaderboards" / "recipes"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_names_what_exists_and_fits(path):
    recipe = read_recipe(path)
    for name in {*recipe.datasets, *recipe.transfer}:
        registry().get("dataset", name)
    cells = cells_of(recipe, {}, lambda name: True, "cpu")
    assert not [cell.skip_reason for cell in cells if cell.skip_reason]
    for paper in recipe.papers:
        load_paper(FOLDER / paper)
