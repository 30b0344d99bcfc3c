"""From words on the command line to complete settings."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from regbench.api.config import ComponentConfig, StepCount, Steps
from regbench.data.protocol import Protocol, build_protocol
from regbench.errors import PluginError, UsageError
from regbench.plugins.registry import Component, registry
from regbench.runs.request import trainer_config
from regbench.settings import BUDGETS, Written, budget_of, build_config, meant, parse_sets, parse_value, write_value


class ToyConfig(ComponentConfig):
    scales: int = Field(3, ge=1, le=4)
    width: int = 64
    rate: float = 1e-3
    presets: ClassVar = {"quick": {"scales": 2, "width": 16}, "tiny": {"scales": 1}}


class Toy:
    Config = ToyConfig


class RecipeConfig(ComponentConfig):
    steps: Steps = 120_000
    short: Annotated[int, StepCount(floor=200)] = 1000
    small: Steps = 10
    epochs: int = 7
    presets: ClassVar = {"quick": {"steps": 1500}, "few": {"epochs": 2, "small": 5}}


class Recipe:
    Config = RecipeConfig


class Plain:
    """States no settings of its own."""


class Broken:
    Config = dict


def component(name="Toy", **config):
    return Component("registrator", name.lower(), f"{__name__}:{name}", config=config)


# --- order: defaults < alias < budget < --set


def test_defaults_are_the_published_settings():
    assert build_config(component()) == ToyConfig()
    assert build_config(component(), {}, budget_of("full")) == ToyConfig()


def test_each_source_of_settings_overrides_the_one_before():
    alias = component(scales=4, rate=0.5)
    assert build_config(alias) == ToyConfig(scales=4, rate=0.5)
    quick = build_config(alias, {}, budget_of("quick"))
    assert quick == ToyConfig(scales=2, width=16, rate=0.5)
    assert build_config(alias, {"scales": 3}, budget_of("quick")) == ToyConfig(scales=3, width=16, rate=0.5)


def test_preset_is_picked_by_name_over_the_budget():
    found = build_config(component(width=8), {"preset": "tiny", "rate": 1.0}, budget_of("quick"))
    assert found == ToyConfig(scales=1, width=8, rate=1.0)


def test_budget_without_a_preset_scales_step_counts_alone():
    found = build_config(component("Recipe"), {}, budget_of("short"))
    assert found == RecipeConfig(steps=6000, short=200, small=10, epochs=7)
    assert build_config(component("Recipe"), {}, budget_of("2")).steps == 240_000


def test_budget_with_a_preset_uses_it_and_scales_nothing():
    assert build_config(component("Recipe"), {}, budget_of("quick")) == RecipeConfig(steps=1500)


def test_steps_asked_for_are_not_scaled():
    found = build_config(component("Recipe"), {"steps": 77}, budget_of("0.5"))
    assert (found.steps, found.short) == (77, 500)


def test_steps_of_an_alias_are_scaled_too():
    assert build_config(component("Recipe", steps=30_000), {}, budget_of("0.5")).steps == 15_000


def test_steps_a_preset_leaves_open_are_scaled():
    # ``quick`` has a preset of its own here; the one asked for replaces it, not the budget.
    found = build_config(component("Recipe"), {"preset": "few"}, budget_of("quick"))
    assert found == RecipeConfig(steps=1500, short=200, small=5, epochs=2)
    found = build_config(component("Recipe"), {"preset": "quick"}, budget_of("quick"))
    assert found == RecipeConfig(steps=1500)


def test_scaled_steps_respect_their_floor_but_never_exceed_the_default():
    found = build_config(component("Recipe"), {}, budget_of("smoke"))
    assert (found.steps, found.short, found.small) == (50, 200, 10)


def test_class_without_settings_accepts_none():
    assert build_config(component("Plain"), {}, budget_of("quick")) == ComponentConfig()
    with pytest.raises(UsageError, match="unknown setting of registrator 'plain' 'x'"):
        build_config(component("Plain"), {"x": 1})


def test_invalid_config_class_names_the_plugin():
    with pytest.raises(PluginError, match="registrator 'broken': Config must derive"):
        build_config(component("Broken"))


# --- mistakes


def test_unknown_setting_suggests_the_closest_name():
    with pytest.raises(UsageError, match="'scale': did you mean 'scales'") as caught:
        build_config(component(), {"scale": 4})
    assert "rate" in str(caught.value)
    assert "preset" in str(caught.value)
    assert caught.value.exit_code == 2


def test_unknown_preset_suggests_the_closest_name():
    with pytest.raises(UsageError, match="unknown preset of toy 'quik': did you mean 'quick'"):
        build_config(component(), {"preset": "quik"})


@pytest.mark.parametrize("value", [5, "many", None, 2.5])
def test_bad_value_is_one_line_with_setting_and_value(value):
    with pytest.raises(UsageError) as caught:
        build_config(component(), {"scales": value})
    text = str(caught.value)
    assert f"scales={value!r}" in text
    assert "\n" not in text


def test_unknown_protocol_setting_suggests_the_closest_name():
    with pytest.raises(UsageError, match="unknown setting of protocol 'pach': did you mean 'patch'"):
        build_protocol({"pach": 64}, budget_of("full"))


# --- protocol and budgets


def test_protocol_takes_the_budgets_size_unless_told_otherwise():
    assert build_protocol({}, budget_of("full")) == Protocol()
    assert build_protocol({}, budget_of("quick")) == Protocol(patch=64, rho=16)
    assert build_protocol({"patch": 96}, budget_of("smoke")) == Protocol(patch=96, rho=16)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"patch": 64, "rho": 32}, r"rho=32 can fold a patch of 64 px; keep rho below patch/2"),
        ({"patch": 8}, "patch=8"),
        ({"rho": -1}, "rho=-1"),
        ({"pairing": "none"}, "pairing='none'"),
        ({"source": "C"}, "source='C'"),
        ({"test_pairs": 255}, "test_pairs=255"),
        ({"oversample": 0}, "oversample=0"),
    ],
)
def test_impossible_protocol_is_a_usage_error(wanted, message):
    with pytest.raises(UsageError, match=message) as caught:
        build_protocol(wanted, budget_of("full"))
    assert "\n" not in str(caught.value)


def test_budgets_shrink_from_full_to_smoke():
    assert list(BUDGETS) == ["smoke", "quick", "hour", "short", "full"]
    factors = [BUDGETS[name].factor for name in BUDGETS]
    assert factors == sorted(factors)
    assert budget_of("full").factor == 1


def test_budget_may_be_a_factor():
    found = budget_of("0.25")
    assert (found.name, found.factor, found.preset, dict(found.protocol)) == ("0.25", 0.25, None, {})


@pytest.mark.parametrize("text", ["0", "-1", "101", "nan", "inf"])
def test_budget_factor_outside_its_range_is_refused(text):
    with pytest.raises(UsageError, match=r"\(0, 100\]"):
        budget_of(text)


def test_unknown_budget_suggests_the_closest_name():
    with pytest.raises(UsageError, match=r"unknown budget 'quik': did you mean 'quick'.*A number is a factor"):
        budget_of("quik")


# --- --set


def test_sets_are_grouped_by_section_as_they_are_written():
    given = ["registrator.scales=4", "registrator.loss=l1", "strategy.rates=[1, 2.5]", "protocol.source=B", "a.b=x=y"]
    assert parse_sets(given) == {
        "registrator": {"scales": "4", "loss": "l1"},
        "strategy": {"rates": "[1, 2.5]"},
        "protocol": {"source": "B"},
        "a": {"b": "x=y"},
    }
    assert parse_sets(["a.b=1", "a.b=2"]) == {"a": {"b": "2"}}
    assert parse_sets([]) == {}


@pytest.mark.parametrize("text", ["scales=4", "registrator.scales", ".scales=4", "registrator.=4", "", "="])
def test_malformed_set_says_how_to_write_it(text):
    with pytest.raises(UsageError, match=r"write SECTION\.NAME=VALUE"):
        parse_sets([text])


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("null", None), ("1e-3", 1e-3), ("fgo", "fgo"), ("", ""), ('"4"', "4")]
)
def test_values_are_json_where_they_parse(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize("value", ["fgo", "", "4", "true", '"', "null", "1e3"])
def test_a_text_of_a_recipe_is_the_text_of_a_setting_that_is_one(value):
    class Texts(ComponentConfig):
        text: str = ""

    assert meant(Texts, {"text": Written(write_value(value))}) == {"text": value}


def test_a_text_of_a_recipe_is_a_number_where_the_setting_is_one():
    class Numbers(ComponentConfig):
        clip: float | None = 1.0
        steps: int = 1

    written = {"clip": Written(write_value("null")), "steps": Written(write_value("7"))}
    assert meant(Numbers, written) == {"clip": None, "steps": 7}


@pytest.mark.parametrize("value", [4, 2.5, True, None, [1, "a"], {"a": 1}])
def test_a_written_value_is_read_back(value):
    assert parse_value(write_value(value)) == value
    assert type(parse_value(write_value(value))) is type(value)


# --- what is written means what the type of its setting says


class TypedConfig(ComponentConfig):
    text: str = "a"
    some: str | None = None
    number: int = 1
    rate: float = 1.0
    flag: bool = False
    either: int | str = 0
    choice: Literal["2017", "a"] = "a"
    side: Literal[1, 2] = 1
    path: Path | None = None
    paths: tuple[Path, ...] = ()
    names: list[str] = []
    maybe: tuple[str, ...] | None = None
    mixed: tuple[int, str] = (1, "a")
    numbers: tuple[int, ...] = ()
    table: dict[str, str] = {}
    long: Annotated[str, Field(min_length=3)] = "abc"
    presets: ClassVar = {"2017": {"number": 7}}


class Typed:
    Config = TypedConfig


HOME = Path.home()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((f"text={text}", text) for text in ("2017", "true", "null", "1e3", "007", "NaN", "[1]", "-0", "", "1.50")),
        ('text="2017"', "2017"),
        ("some=2017", "2017"),
        ("some=null", None),
        ('some="null"', "null"),
        ("number=4", 4),
        ("number=1e3", 1000),
        ("rate=1e-3", 1e-3),
        ("rate=2", 2.0),
        ("flag=true", True),
        ("flag=0", False),
        ("flag=yes", True),
        ("either=2017", 2017),
        ("either=true", "true"),
        ("choice=2017", "2017"),
        ("side=2", 2),
        ("path=2017", Path("2017")),
        ("path=~/w", HOME / "w"),
        ("path=null", None),
        ('paths=["~/w", "x"]', (HOME / "w", Path("x"))),
        ("names=[2017, true, 1e3]", ["2017", "true", "1e3"]),
        ("maybe=[2017]", ("2017",)),
        ("maybe=null", None),
        ("mixed=[3, 4]", (3, "4")),
        ("numbers=[1, 2]", (1, 2)),
        ('table={"a": 1}', {"a": "1"}),
        ("long=2017", "2017"),
    ],
)
def test_the_type_of_a_setting_says_what_is_meant(written, value):
    found = getattr(build_config(component("Typed"), parse_sets([f"r.{written}"])["r"]), written.partition("=")[0])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("number=true", "number='true'"),
        ("rate=true", "rate='true'"),
        ("side=true", "side="),
        ("numbers=[1, true]", "numbers.1='true'"),
        ("number=2.5", "number=2.5"),
        ("number=null", "number=None"),
        ("choice=2018", "choice="),
        ("long=12", "long='12'"),
    ],
)
def test_what_a_setting_does_not_take_is_refused(written, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        build_config(component("Typed"), parse_sets([f"r.{written}"])["r"])


def test_presets_protocol_and_run_take_what_is_written():
    assert build_config(component("Typed"), parse_sets(["r.preset=2017"])["r"]).number == 7
    written = parse_sets(["protocol.patch=96", "run.share=~/stages", "run.log_every=3"])
    assert build_protocol(written["protocol"], budget_of("full")).patch == 96
    trainer = trainer_config(written["run"])
    assert (trainer.share, trainer.log_every) == (HOME / "stages", 3)
    with pytest.raises(UsageError, match="patch='true'"):
        build_protocol(parse_sets(["protocol.patch=true"])["protocol"], budget_of("full"))


def test_values_of_python_keep_their_types():
    assert build_config(component("Typed"), {"number": 4, "text": "x"}).number == 4
    with pytest.raises(UsageError, match="text=2017"):
        build_config(component("Typed"), {"text": 2017})


@pytest.mark.parametrize("written", ["[[[[" * 5000, "9" * 5000, "[[]]", "{}", "[[1,[2]],[]]"])
def test_no_text_of_a_setting_breaks_its_reading(written):
    """Nested too deep, of too many digits, or of fewer items than the setting has."""

    class Pairs(ComponentConfig):
        both: tuple[tuple[int, int], tuple[int, int]] = ((1, 2), (3, 4))

    assert meant(Pairs, {"both": Written(written)})


def test_a_number_of_noise_steps_that_takes_for_ever_is_refused():
    with pytest.raises(UsageError, match="noise_steps"):
        build_config(registry().get("translator", "mimgcd"), {"noise_steps": 10**9})
