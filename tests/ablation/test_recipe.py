"""Recipes are read whole or refused in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from regbench.ablation.cells import cells_of, waves
from regbench.ablation.recipe import merge_sets, read_recipe
from regbench.errors import DataError, UsageError
from regbench.plugins.registry import Registry, registry

TABLE = """
title = "A table"
registrator = "mcnet4"
strategy = "colreg"
seeds = [0, 1]
controls = {controls}
datasets = ["synthetic"]
[set]
strategy.rounds = 1
registrator.scales = 2
[data.synthetic]
train = 6
[[row]]
name = "A"
translator = "mimgcd"
set.strategy.batch = 2
[[row]]
name = "B"
translator = "copy-target"
seeds = [3]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "table.toml"
    path.write_text(text)
    return path


def table(folder: Path, controls: str = "false", more: str = "") -> Path:
    return written(folder, TABLE.replace("{controls}", controls) + more)


def test_a_row_inherits_and_overrides(tmp_path):
    recipe = read_recipe(table(tmp_path))
    a, b = recipe.rows
    assert recipe.name == "table"
    assert (a.registrator, a.strategy, a.seeds, b.seeds) == ("mcnet4", "colreg", (0, 1), (3,))
    assert a.set["strategy"] == {"rounds": 1, "batch": 2}
    assert b.set["strategy"] == {"rounds": 1}


def test_overrides_replace_what_the_file_says(tmp_path):
    recipe = read_recipe(table(tmp_path), budget="smoke", seeds=(7,), datasets=None)
    assert (recipe.budget, recipe.datasets) == ("smoke", ("synthetic",))
    assert recipe.rows[0].seeds == (7,)
    assert recipe.rows[1].seeds == (3,), "a row's own seeds stay"


def test_controls_are_added_without_settings_meant_for_others(tmp_path):
    names = {row.name: row for row in read_recipe(table(tmp_path, "true")).rows}
    assert list(names) == ["A", "B", "identity", "self-supervised", "supervised"]
    assert names["identity"].set == {}
    assert names["supervised"].set == {"registrator": {"scales": 2}}
    assert names["supervised"].seeds == (0, 1)
    assert names["identity"].seeds == (0,), "doing nothing has no seed"


def test_every_registered_control_has_a_row_and_each_kind_must_be_there(tmp_path, monkeypatch):
    before = Registry.controls

    def controls(self, control):
        both = [dataclasses.replace(c, name=name) for c in before(self, control) for name in (c.name, f"my-{c.name}")]
        return both if control != "supervised" else missing

    missing = before(registry(), "supervised")
    monkeypatch.setattr(Registry, "controls", controls)
    names = [row.name for row in read_recipe(table(tmp_path, "true")).rows][2:]
    assert names == ["identity", "my-identity", "self-supervised", "my-self-supervised", "supervised"]
    missing = []
    with pytest.raises(UsageError, match="no installed plugin registers the control 'supervised'"):
        read_recipe(table(tmp_path, "true"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[[row]]\nname = "A"\ntranslator = "mimgcd"', "two rows are called 'A'"),
        ('[[row]]\nname = "C"\nteacher = "a"\n', "unknown teacher of row 'C' 'a': known: A, B, C"),
        ('[[row]]\nname = "C"\nset.dataset.gap = 1', r"belong under \[data.NAME\]"),
        ('[[row]]\nname = "C"\nregistrater = "mcnet"', "registrater"),
        ("[extra]\nx = 1", "extra"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path, more, said):
    with pytest.raises(UsageError, match=said) as caught:
        read_recipe(table(tmp_path, more=more))
    assert "\n" not in str(caught.value)
    assert "table.toml" in str(caught.value)


def test_a_file_that_is_no_recipe(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(DataError, match="not TOML"):
        read_recipe(written(tmp_path, "title = "))


def test_settings_of_two_levels_are_merged_by_name():
    assert merge_sets({"a": {"x": 1, "y": 1}}, {"a": {"y": 2}, "b": {"z": 3}}) == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}


def test_a_grid_holds_what_the_plugins_allow(tmp_path):
    path = written(
        tmp_path,
        'title = "G"\ncontrols = false\n[grid]\nstrategies = ["colreg", "supervised"]\n'
        'registrators = ["mcnet", "sift"]\ntranslators = ["mimgcd", "identity"]\n',
    )
    cells = cells_of(read_recipe(path), {}, lambda name: True, "cpu")
    assert {cell.row.name for cell in cells} == {"colreg × mimgcd × mcnet", "supervised × mcnet"}
    assert not [cell.skip_reason for cell in cells if cell.skip_reason]


def test_settings_of_a_grid_follow_the_component(tmp_path):
    path = written(
        tmp_path,
        'title = "G"\ncontrols = false\n[grid]\nstrategies = ["colreg", "supervised"]\n'
        'registrators = ["mcnet", "dhn"]\ntranslators = ["mimgcd"]\n'
        "[grid.settings]\ncolreg.rounds = 1\nmcnet.scales = 2\n",
    )
    sets = {row.name: row.set for row in read_recipe(path).rows}
    assert sets == {
        "colreg × mimgcd × mcnet": {"strategy": {"rounds": 1}, "registrator": {"scales": 2}},
        "colreg × mimgcd × dhn": {"strategy": {"rounds": 1}},
        "supervised × mcnet": {"registrator": {"scales": 2}},
        "supervised × dhn": {},
    }


def test_cells_say_the_whole_command(tmp_path):
    (cell, *_) = cells_of(read_recipe(table(tmp_path)), {"synthetic": tmp_path}, lambda name: False, "cpu")
    line = " ".join(cell.command(tmp_path / "out"))
    assert line.startswith("run --registrator mcnet4 --strategy colreg")
    assert "--seed 0" in line
    assert f"--dataset synthetic --root {tmp_path} --set dataset.train=6" in line
    assert "--set strategy.rounds=1" in line
    assert line.endswith(f"--out {tmp_path}/out/a-synthetic-0")


def test_a_student_waits_for_its_teacher_and_a_transfer_for_its_run(tmp_path):
    more = '[[row]]\nname = "C"\ntranslator = "mimgcd"\nteacher = "D"\n[[row]]\nname = "D"\ntranslator = "mimgcd"\n'
    recipe = read_recipe(table(tmp_path, more=more)).model_copy(update={"transfer": ("vedai",)})
    cells = cells_of(recipe, {}, lambda name: name == "synthetic", "cpu")
    by_name = {cell.name: cell for cell in cells}
    assert by_name["c-synthetic-1"].needed_cell == "d-synthetic-1"
    assert by_name["a-synthetic-0-on-vedai"].skip_reason == "data set vedai is not here; add --root vedai=DIR"
    first, second, third = (
        {cell.name for cell in wave} for wave in waves([c for c in cells if "vedai" not in c.name or "c-" in c.name])
    )
    assert "d-synthetic-0" in first
    assert "c-synthetic-0" in second
    assert "c-synthetic-0-on-vedai" in third
    with pytest.raises(DataError, match="needs the run of d-synthetic-0, which is not finished"):
        by_name["c-synthetic-0"].command(tmp_path)
