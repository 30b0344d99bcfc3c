"""Recipes are read whole or refused in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from regbench.ablation.cells import cells_of, waves
from regbench.ablation.recipe import merge_sets
from regbench.ablation.recipe_file import read_recipe
from regbench.ablation.shipped import recipe_path
from regbench.errors import DataError, UsageError
from regbench.plugins.registry import Registry, registry
from regbench.settings import parse_value

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


def values_of(cell, section):
    """What a cell's command line sets in a section, read as JSON; None where it sets nothing."""
    sets = cell.request().sets.get(section)
    return None if sets is None else {name: parse_value(value) for name, value in sets.items()}


def test_a_row_inherits_and_overrides(tmp_path):
    recipe = read_recipe(table(tmp_path))
    a, b = recipe.rows
    assert recipe.name == "table"
    assert (a.registrator, a.strategy, a.seeds, b.seeds) == ("mcnet4", "colreg", (0, 1), (3,))
    assert a.set["strategy"] == {"rounds": 1, "batch": 2}
    assert b.set["strategy"] == {"rounds": 1}


def test_a_recipe_has_the_keys_of_its_base_but_for_its_own(tmp_path):
    base = read_recipe(table(tmp_path))
    path = tmp_path / "mine.toml"
    path.write_text('base = "table"\ntitle = "Mine"\n[data.synthetic]\ntrain = 9\n')
    mine = read_recipe(path)
    assert (mine.name, mine.title, mine.data) == ("mine", "Mine", {"synthetic": {"train": 9}})
    assert (mine.rows, mine.datasets, mine.seeds) == (base.rows, base.datasets, base.seeds)


def test_a_base_may_be_of_regbench(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "colreg-fig11"\ntitle = "Mine"\npapers = []\n')
    shipped = read_recipe(recipe_path(Path("colreg-fig11")))
    assert read_recipe(tmp_path / "mine.toml").rows == shipped.rows


@pytest.mark.parametrize(
    ("base", "said"),
    [("mine", "has a base of its own"), ("../mine", "recipe"), ("colreg-fig99", "unknown recipe 'colreg-fig99'")],
)
def test_a_base_that_cannot_be_is_told(tmp_path, base, said):
    (tmp_path / "mine.toml").write_text(f'base = "{base}"\ntitle = "Mine"\n')
    with pytest.raises(UsageError, match=said):
        read_recipe(tmp_path / "mine.toml")


def test_overrides_replace_what_the_file_says(tmp_path):
    recipe = read_recipe(table(tmp_path), budget="smoke", seeds=(7,), datasets=None)
    assert (recipe.budget, recipe.datasets) == ("smoke", ("synthetic",))
    assert recipe.rows[0].seeds == (7,)
    assert recipe.rows[1].seeds == (3,), "a row's own seeds stay"


def test_controls_are_added_without_settings_meant_for_others(tmp_path):
    names = {row.name: row for row in read_recipe(table(tmp_path, "true")).rows}
    assert list(names) == ["A", "B", "identity", "rift", "sift", "contrast-randomised", "self-supervised", "supervised"]
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
    assert names == [
        *("identity", "my-identity", "rift", "my-rift", "sift", "my-sift"),
        *("contrast-randomised", "my-contrast-randomised"),
        *("self-supervised", "my-self-supervised", "supervised"),
    ]
    missing = []
    with pytest.raises(UsageError, match="no installed plugin registers the control 'supervised'"):
        read_recipe(table(tmp_path, "true"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[[row]]\nname = "A"\ntranslator = "mimgcd"', "the row 'A' stands here twice"),
        ('[[row]]\nname = "C"\nteacher = "a"\n', "unknown teacher of row 'C' 'a': known: A, B, C"),
        ('[[row]]\nname = "C"\nset.dataset.gap = 1', r"belong under \[data.NAME\]"),
        ('[[row]]\nname = "C"\nregistrater = "mcnet"', "registrater"),
        ("[protocol.vedia]\noversample = 9", "unknown dataset 'vedia': did you mean 'vedai'"),
        ("[protocol.vedai]\noversampling = 9", "unknown setting of protocol.vedai 'oversampling'"),
        ('[[row]]\nname = "C"\nprotocol.vedia.rho = 9', "unknown dataset 'vedia'"),
        ("[data.synthtic]\ntest = 6", "unknown dataset 'synthtic'"),
        ('[[row]]\nname = "C"\nset.protocol.pairing = "online"', "write pairing = … instead"),
        ('[[row]]\nname = "C"\npublished.translator.steps = 1', "published.translator: the row has no translator"),
        ('[[row]]\nname = "C"\npublished.run.steps = 1', "published.run"),
        ('[[row]]\nname = "C"\nset = 3', "set"),
        ('[[row]]\nname = "C"\nbudget = "tiny"', "row 'C': unknown budget 'tiny'"),
        ('[[row]]\nname = "C"\nseeds = [1, 1]', "a seed stands twice"),
        ('[[row]]\nname = "C"\nteacher = "B"\nseeds = [4]', "'B' is not run with seed 4"),
        ("[extra]\nx = 1", "extra"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path, more, said):
    with pytest.raises(UsageError, match=said) as caught:
        read_recipe(table(tmp_path, more=more))
    assert "\n" not in str(caught.value)
    assert "table.toml" in str(caught.value)


@pytest.mark.parametrize(("key", "said"), [("datasets", "the data set 'vedai'"), ("transfer", "data set of transfer")])
def test_a_data_set_that_stands_twice_is_refused(tmp_path, key, said):
    text = f'title = "T"\n{key} = ["vedai", "vedai"]\n[[row]]\nname = "A"\nregistrator = "sift"\n'
    with pytest.raises(UsageError, match=f"{said}.*twice"):
        read_recipe(written(tmp_path, text))


def test_a_file_that_is_no_recipe(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(DataError, match="not TOML"):
        read_recipe(written(tmp_path, "title = "))


def test_settings_of_two_levels_are_merged_by_name():
    assert merge_sets({"a": {"x": 1, "y": 1}}, {"a": {"y": 2}, "b": {"z": 3}}) == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}


def test_the_order_of_sections_does_not_depend_on_the_hash_seed():
    """The order of a command's words decides whether a cell counts as finished."""
    names = [f"section{i}" for i in range(20)]
    assert list(merge_sets({"own": {}}, {name: {} for name in names})) == ["own", *names]


PROTOCOLS = """
title = "Per data set"
controls = true
registrator = "dhn"
pairing = "frozen"
seeds = [0]
datasets = ["vedai", "googleearth", "llvip"]
transfer = ["vedai", "llvip"]
[set]
protocol = { oversample = 3, rho = 20 }
[protocol.vedai]
oversample = 9
[protocol.googleearth]
pairing = "given"
[protocol.llvip]
oversample = 1
source = "B"
[[row]]
name = "A"
strategy = "supervised"
[[row]]
name = "B"
strategy = "supervised"
set.protocol.rho = 24
protocol.vedai = { oversample = 4, pairing = "online" }
protocol.googleearth.frozen_augment = "indep_homography"
[[row]]
name = "C"
registrator = "sift"
"""


def test_a_protocol_of_a_data_set_is_laid_over_that_of_the_row(tmp_path):
    made = cells_of(read_recipe(written(tmp_path, PROTOCOLS)), {}, lambda name: True, "cpu")
    found = {cell.name: (cell.request().pairing, values_of(cell, "protocol")) for cell in made}
    assert found["a-vedai-0"] == ("frozen", {"oversample": 9, "rho": 20})
    assert found["a-googleearth-0"] == ("given", {"oversample": 3, "rho": 20})
    assert found["a-llvip-0"] == ("frozen", {"oversample": 1, "rho": 20, "source": "B"})
    assert found["b-vedai-0"] == ("online", {"oversample": 4, "rho": 24})
    assert found["b-googleearth-0"] == (
        "given",
        {"oversample": 3, "rho": 24, "frozen_augment": "indep_homography"},
    )
    assert found["supervised-llvip-0"] == found["a-llvip-0"], "controls follow the data set, too"


def test_what_is_only_judged_has_no_protocol_of_training(tmp_path):
    made = cells_of(read_recipe(written(tmp_path, PROTOCOLS)), {}, lambda name: True, "cpu")
    found = {cell.name: values_of(cell, "protocol") for cell in made}
    assert found["c-vedai-0"] == found["identity-vedai-0"] == {"rho": 20}
    assert found["c-llvip-0"] == {"rho": 20, "source": "B"}


def test_a_run_that_is_judged_elsewhere_takes_the_source_of_that_set(tmp_path):
    made = cells_of(read_recipe(written(tmp_path, PROTOCOLS)), {}, lambda name: True, "cpu")
    found = {cell.name: values_of(cell, "protocol") for cell in made if cell.needed_option == "--run"}
    assert found["a-vedai-0-on-llvip"] == {"source": "B"}
    assert found["a-llvip-0-on-vedai"] == {"source": "A"}
    assert found["a-googleearth-0-on-vedai"] is None


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("full", {"steps": 6000, "batch": 2, "optimiser": "sgd"}),
        ("0.5", {"steps": 3000, "batch": 2, "optimiser": "sgd"}),
        ("smoke", {"optimiser": "sgd"}),  # steps and batch are those of the preset
    ],
)
def test_a_budget_acts_on_published_settings_as_on_defaults(tmp_path, budget, expected):
    text = (
        f'title = "P"\nbudget = "{budget}"\ncontrols = false\n[[row]]\nname = "A"\nregistrator = "dhn"\n'
        'strategy = "supervised"\npublished.strategy = { steps = 6000, batch = 2, optimiser = "sgd" }\n'
    )
    (cell, *_) = cells_of(read_recipe(written(tmp_path, text)), {}, lambda name: True, "cpu")
    assert values_of(cell, "strategy") == expected
    (cell, *_) = cells_of(read_recipe(written(tmp_path, text + "set.strategy.steps = 7\n")), {}, lambda n: True, "cpu")
    assert values_of(cell, "strategy") == expected | {"steps": 7}, "set is taken as it is"


ALIKE = [
    ("sift 0.8", "SIFT-0.8", "sift  0.8", "SIFT*", "sift-star"),
    ("é", "ü", "…", "-"),
    ("a" * 150 + "x", "a" * 150 + "y"),
    ("A", "a", "a ", "a+", "a-plus", "a×", "ax"),
]


@pytest.mark.parametrize("names", ALIKE)
def test_rows_whose_names_are_alike_are_cells_of_their_own(tmp_path, names):
    text = 'title = "T"\ncontrols = false\ndatasets = ["vedai"]\ntransfer = ["vedai", "llvip"]\nseeds = [0, 1]\n'
    text += "".join(f'[[row]]\nname = "{name}"\nregistrator = "dhn"\nstrategy = "supervised"\n' for name in names)
    recipe = read_recipe(written(tmp_path, text))
    made = [cell.name for cell in cells_of(recipe, {}, lambda name: True, "cpu")]
    assert len(made) == len(names) * 2 * 2
    assert len({name.lower() for name in made}) == len(made)
    assert all(name.isascii() and len(name) < 200 and name[0] not in ".-" for name in made)
    turned = recipe.model_copy(update={"rows": recipe.rows[::-1]})
    assert {cell.name for cell in cells_of(turned, {}, lambda name: True, "cpu")} == set(made), "whatever their order"


def test_a_row_and_a_data_set_may_not_look_like_another_row_and_data_set(tmp_path):
    """``map`` on ``googlemap-original`` and ``map-googlemap`` on ``original`` would share a folder."""
    text = 'title = "T"\ncontrols = false\ndatasets = ["googlemap", "x/googlemap.h5"]\nseeds = [0]\n'
    text += "".join(f'[[row]]\nname = "{name}"\nregistrator = "sift"\n' for name in ("a", "a x"))
    recipe = read_recipe(written(tmp_path, text)).model_copy(update={"datasets": ("b", "x-b")})
    made = [cell.name for cell in cells_of(recipe, {}, lambda name: True, "cpu")]
    assert len(set(made)) == 4


def test_names_that_are_not_alike_keep_their_folders(tmp_path):
    made = cells_of(read_recipe(table(tmp_path)), {}, lambda name: True, "cpu")
    assert [cell.name for cell in made] == ["a-synthetic-0", "a-synthetic-1", "b-synthetic-3"]


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


@pytest.mark.parametrize("paper", ["../../click", "/tmp/click", "a/b", "..", ".", "", ".hidden", "a\\b", "x\n"])
def test_a_paper_is_a_name_and_no_path(tmp_path, paper):
    text = TABLE.replace("{controls}", "false").replace("[set]", f"papers = [{paper!r}]\n[set]", 1)
    with pytest.raises(UsageError, match=r"table\.toml: paper "):
        read_recipe(written(tmp_path, text.replace("'", '"')))


@pytest.mark.parametrize(
    "line",
    [
        'datasets = ["/data/evil.h5"]',
        'transfer = ["../evil.h5"]',
        'data.folder.pairs = "../../secret.csv"',
        'set.strategy.weights = "~/weights.pth"',
        'set.strategy.list = ["a", "/etc/passwd"]',
        'published.registrator.x = {y = "..\\\\x"}',
        'teacher = "../x"',
        'budget = "/x"',
    ],
)
def test_a_recipe_names_nothing_beyond_its_folder(tmp_path, line):
    top, row = (line, "") if line.startswith(("datasets", "transfer", "data", "budget")) else ("", line)
    text = f'title = "T"\ncontrols = false\n{top}\n[[row]]\nname = "/A/../B"\nregistrator = "identity"\n{row}\n'
    with pytest.raises(UsageError, match=r"table\.toml: .* lies beyond the recipe's folder"):
        read_recipe(written(tmp_path, text))


def test_a_recipe_does_not_choose_where_stages_are_shared(tmp_path):
    text = 'title = "T"\ncontrols = false\nset.run.share = "x"\n[[row]]\nname = "A"\nregistrator = "identity"\n'
    with pytest.raises(UsageError, match=r"run\.share"):
        read_recipe(written(tmp_path, text))


@pytest.mark.parametrize("name", ["...toml", ".toml"])
def test_a_recipe_whose_file_gives_no_name_for_a_board_is_refused(tmp_path, name):
    (tmp_path / name).write_text('title = "T"\ncontrols = false\n[[row]]\nname = "A"\nregistrator = "identity"\n')
    with pytest.raises(UsageError, match="board"):
        read_recipe(tmp_path / name)


@pytest.mark.parametrize("content", [b"a = " + b"[" * 9000, b"a = " + b"9" * 9000, b"\xff\xfe\x00", b"a = {" * 5000])
def test_what_is_no_toml_is_told_in_one_line(tmp_path, content):
    (tmp_path / "table.toml").write_bytes(content)
    with pytest.raises(DataError, match=r"table\.toml is not TOML"):
        read_recipe(tmp_path / "table.toml")
