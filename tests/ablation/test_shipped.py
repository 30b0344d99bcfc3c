"""Recipes by name: found in a checkout and in a wheel, listed, shown, copied with the numbers of their papers."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from regbench.ablation import shipped
from regbench.ablation.recipe_file import RecipeFile, read_recipe
from regbench.ablation.shipped import new_recipe, recipe_path, titles
from regbench.cli.recipes import command
from regbench.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_a_name_is_a_shipped_recipe():
    path = recipe_path(Path("colreg-table5"))
    assert path.samefile(ROOT / "leaderboards" / "recipes" / "colreg-table5.toml")


def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe_path(Path("mine.toml")) == Path("mine.toml"), "whether it is there is for its reader to say"
    assert recipe_path(Path("folder/mine")) == Path("folder/mine")
    Path("colreg-table5").write_text("a file of one's own")
    assert recipe_path(Path("colreg-table5")) == Path("colreg-table5")


def test_an_unknown_name_gets_the_closest():
    with pytest.raises(UsageError, match=r"unknown recipe 'colreg-tabel5': did you mean 'colreg-table5'"):
        recipe_path(Path("colreg-tabel5"))


def test_in_a_wheel_they_are_beside_the_package(tmp_path, monkeypatch):
    (tmp_path / "regbench" / "recipes").mkdir(parents=True)
    (tmp_path / "regbench" / "recipes" / "one.toml").write_text('title = "One"\n')
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "regbench")
    assert titles() == {"one": "One"}
    assert recipe_path(Path("one")) == tmp_path / "regbench" / "recipes" / "one.toml"


def test_the_wheel_holds_recipes_and_schema():
    """As the build is told: the folders exist, and go where they are looked for."""
    import tomllib

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    included = wheel["force-include"]
    assert included["leaderboards/recipes"] == "regbench/recipes"
    assert included["docs/result.schema.json"].startswith("regbench/results/")
    assert all((ROOT / path).exists() for path in included)


def test_all_are_listed_with_their_titles():
    names = {path.stem for path in (ROOT / "leaderboards" / "recipes").glob("*.toml")}
    assert set(titles()) == names
    printed = CliRunner().invoke(command, ["list"]).output
    assert all(name in printed for name in names)


def test_one_is_shown_with_its_size():
    done = CliRunner().invoke(command, ["show", "colreg-table5"])
    assert done.exit_code == 0, done.output
    head, _, text = done.output.partition("\n")
    assert " rows with the controls, " in head
    assert text == recipe_path(Path("colreg-table5")).read_text()


def test_a_new_one_can_be_read_and_is_not_written_over(tmp_path):
    path = new_recipe("mine", None, tmp_path)
    recipe = read_recipe(path)
    assert {"CoLReg", "SCPNet"} < {row.name for row in recipe.rows}, "and the controls"
    with pytest.raises(UsageError, match="nothing is written over"):
        new_recipe("mine.toml", None, tmp_path)
    with pytest.raises(UsageError):
        new_recipe("../mine", None, tmp_path)


def test_a_copy_keeps_the_numbers_of_papers(tmp_path):
    path = new_recipe("mine", "colreg-table5", tmp_path)
    papers = read_recipe(path).papers
    assert papers
    assert all((tmp_path / paper / "paper.csv").is_file() for paper in papers)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('strategy = "supervised"\nregistrator = "dhn"', r'row 1 \(\[\[row\]\]\) needs name = "…"'),
        ('name = "A"\nstrategie = "x"', r"unknown key of row 1, 'A' 'strategie': did you mean 'strategy'"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, told):
    path = tmp_path / "wrong.toml"
    path.write_text(f'title = "t"\nregistrator = "mcnet"\n[[row]]\n{row}\n')
    with pytest.raises(UsageError, match=told):
        read_recipe(path)


def test_every_key_is_described():
    assert not [name for name, field in RecipeFile.model_fields.items() if not field.description]
