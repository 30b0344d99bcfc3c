"""The shipped recipes name what exists, run what the papers ran, and meet the numbers that the papers print."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from regbench.ablation.cells import Cell, cells_of
from regbench.ablation.recipe_file import read_recipe
from regbench.metrics import METRIC_VERSION
from regbench.plugins.register import Control
from regbench.plugins.registry import registry
from regbench.report.printed import load_paper, matches_method
from regbench.results.schema import Component, Identity, TestData, TrainData
from regbench.runs.request import protocol_on, resolve
from regbench.settings import build_config

FOLDER = Path(__file__).parents[2] / "leaderboards" / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
FROZEN = {"vedai": 9, "diml": 10, "osdataset": 5, "llvip": 1}
"""Frozen pairs of each training image in CoLReg."""


def same(*rows: str) -> dict[str, set[str]]:
    return {row: {row} for row in rows}


SSHNET = {"SSHNet-IHN", "L_pcp+L_corr"}
PRINTED: dict[str, dict[str, set[str]]] = {
    "colreg-table2": same("DHN", "MHN", "ReDFeat", "IHN1", "IHN", "MCNet", "CUDHN", "SCPNet", "SSHNet", "SSHNet-D")
    | same("CoLReg")
    | {"AltO": {"Alto"}},
    "colreg-table3": same("DHN*", "MHN*", "ReDFeat*", "IHN1*", "IHN*", "MCNet*", "CoLReg"),
    "colreg-table4": same("SSHNet*", "SSHNet-D*", "CoLReg") | {"AltO*": {"Alto*"}},
    "colreg-table5": same("MUNIT", "CUT", "UNSB", "MIMGCD") | {"U-GAT-IT": {"UGATIT"}},
    "colreg-fig10": {"round 0, R_s and R": {"MIMGCD"}, "two rounds, R_s and R": {"CoLReg"}},
    "colreg-fig11": same("IHN1", "SCPNet", "SSHNet", "SSHNet-D", "CoLReg")
    | {"AltO": {"Alto"}, "supervised": {"IHN1"}},  # this control is the first row again
    "sshnet-fig3": {"SSHNet": SSHNET},
    "sshnet-table1": {"SSHNet": SSHNET, "neither reformulated nor split": {"without reformulation and split"}},
    "sshnet-table3": same("L1", "L_pcp")
    | {"L_pcp + L_corr": SSHNET, "L_corr trains the translator alone": SSHNET},  # as in the code, as in the paper
    "sshnet-table5": same("MHN", "SCPNet") | {"SSHNet-IHN": SSHNET, "supervised": {"MHN"}},
    "sshnet-table6": {"SSHNet-IHN": SSHNET},
}
"""What the papers call the rows of a recipe whose numbers they print; no other row meets a printed number."""


@cache
def cells(name: str, budget: str | None = None) -> tuple[Cell, ...]:
    recipe = read_recipe(FOLDER / f"{name}.toml", budget=budget, seeds=(0,))
    return tuple(cells_of(recipe, {}, lambda name: True, "cpu"))


def config_of(recipe: str, row: str, role: str, budget: str | None = None) -> Any:
    cell = next(cell for cell in cells(recipe, budget) if cell.row.name == row and cell.needed_option != "--run")
    return resolve(cell.request()).components[role].config


def identity_of(cell: Cell) -> Identity:
    """The identity that the run of a cell will have, as far as patterns look at it."""
    request = cell.request()
    words = resolve(request)
    reader = registry().get("dataset", request.dataset)
    aligned = reader.load()(build_config(reader, request.settings("dataset")), None).aligned
    components = {
        role: chosen
        and Component(
            name=chosen.component.name, version="1", distribution="x", config=chosen.config.model_dump(mode="json")
        )
        for role, chosen in words.components.items()
    }
    return Identity(
        **components,
        train_dataset=TrainData(name=cell.dataset, pack_sha256="a" * 64) if request.strategy else None,
        test_dataset=TestData(name=cell.dataset, manifest_sha256="a" * 64),
        protocol=protocol_on(aligned, request, words.protocol).record(),
        seed=0,
        budget=request.budget,
        ancestors=[cell.needed_cell] if cell.needed_cell else [],
        metric_version=METRIC_VERSION,
        supervision="none",
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_names_what_exists_and_fits(path):
    recipe = read_recipe(path)
    for name in {*recipe.datasets, *recipe.transfer}:
        registry().get("dataset", name)
    assert not [cell.skip_reason for cell in cells(path.stem) if cell.skip_reason]
    for paper in recipe.papers:
        load_paper(FOLDER / paper)


@pytest.mark.parametrize("budget", ["quick", "full"])
@pytest.mark.parametrize("name", PRINTED)
def test_each_row_meets_the_numbers_printed_of_it_and_no_others(name, budget):
    paper = load_paper(FOLDER / name.partition("-")[0])
    met: dict[str, set[str]] = defaultdict(set)
    lineage: dict[str, dict[str, object]] = {}
    for cell in (cell for cell in cells(name, budget) if cell.needed_option != "--run"):
        identity = identity_of(cell)
        lineage[cell.name] = identity.model_dump(mode="json")
        methods = {line.method for line in paper.lines.get(cell.dataset, [])}
        found = {method for method in methods if matches_method(identity, paper.methods.get(method, {}), lineage)}
        wanted = PRINTED[name].get(cell.row.name, set())
        assert found <= wanted, cell.name
        assert cell.dataset != "googleearth" or found == wanted, cell.name
        met[cell.row.name] |= found
    assert {row: methods for row, methods in met.items() if methods} == PRINTED[name]


def test_every_recipe_with_a_paper_is_compared_with_it():
    assert {path.stem for path in RECIPES if read_recipe(path).papers} == set(PRINTED)


@pytest.mark.parametrize("name", [name for name in PRINTED if name.startswith("colreg-")])
def test_frozen_pairs_of_each_image_are_as_many_as_colreg_has(name):
    frozen = [cell for cell in cells(name) if cell.request().pairing == "frozen"]
    assert frozen
    for cell in frozen:
        assert resolve(cell.request()).protocol.oversample == FROZEN[cell.dataset], cell.name
    for cell in cells(name):
        if cell.dataset == "googleearth" and cell.arguments[0] == "run":
            assert cell.request().pairing == "given", cell.name


@pytest.mark.parametrize("recipe", ["colreg-table2", "colreg-fig11", "sshnet-table5"])
@pytest.mark.parametrize("budget", ["smoke", "full"])
def test_scpnet_estimates_once(recipe, budget):
    config = config_of(recipe, "SCPNet", "registrator", budget)
    assert (config.scales, config.iterations[0]) == (1, 1)


def test_unsb_is_the_released_one():
    assert config_of("colreg-table5", "UNSB", "translator").block == "released"


@pytest.mark.parametrize("recipe", ["colreg-table2", "colreg-table3"])
@pytest.mark.parametrize(("budget", "share"), [("full", 1), ("short", 1 / 20), ("0.1", 1 / 10)])
def test_dhn_and_redfeat_are_trained_as_published(recipe, budget, share):
    star = "*" if recipe == "colreg-table3" else ""
    dhn = config_of(recipe, f"DHN{star}", "strategy", budget)
    assert (dhn.optimiser, dhn.schedule, dhn.lr, dhn.batch, dhn.clip) == ("sgd", "step", 0.005, 64, None)
    assert (dhn.steps, dhn.decay_steps, dhn.weight_decay) == (round(90_000 * share), round(30_000 * share), 0)
    redfeat = config_of(recipe, f"ReDFeat{star}", "strategy", budget)
    assert (redfeat.optimiser, redfeat.schedule, redfeat.lr, redfeat.weight_decay) == ("adam", "cosine", 1e-3, 5e-4)
    assert (redfeat.clip, redfeat.batch, redfeat.steps) == (5, 2, round(50_275 * share))


def test_the_photograph_of_googlemap_is_the_source_in_sshnets_tables():
    """A run that is judged on another data set takes the source of that set."""
    for cell in (*cells("sshnet-table5"), *cells("sshnet-table6")):
        source = cell.request().settings("protocol").get("source")
        judged_on_map = cell.dataset == "googlemap-original"
        if cell.needed_option == "--run":
            trained_on_map = "-googlemap-original-" in str(cell.needed_cell)
            assert source == (None if trained_on_map == judged_on_map else "B" if judged_on_map else "A"), cell.name
        else:
            assert source == ("B" if judged_on_map else None), cell.name


# --- the campaign


def settings_by_row(name: str, **overrides: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    """Command lines without seeds, by row and data set."""
    recipe = read_recipe(FOLDER / f"{name}.toml", **overrides)
    found = {}
    for cell in cells_of(recipe, {}, lambda name: True, "cpu"):
        words = list(cell.arguments)
        if "--seed" in words:
            del words[words.index("--seed") : words.index("--seed") + 2]
        found[cell.row.name, cell.dataset] = tuple(words)
    return found


def test_the_first_wave_of_the_campaign_has_every_method_and_control():
    rows = {cell.row.name for cell in cells("campaign-1")}
    assert {c.name for control in get_args(Control) for c in registry().controls(control)} - {"copy-target"} <= rows
    assert {"CoLReg", "CoLReg, copy-target", "SSHNet", "SSHNet-D", "SCPNet", "AltO"} <= rows
    assert {cell.dataset for cell in cells("campaign-1")} == {"synthetic", "vedai"}


def test_the_second_wave_is_more_seeds_of_rows_of_the_first():
    first, second = settings_by_row("campaign-1"), settings_by_row("campaign-2")
    assert second.items() <= first.items()
    assert read_recipe(FOLDER / "campaign-2.toml").seeds == (1, 2)


@pytest.mark.parametrize("name", ["campaign-1", "campaign-2", "campaign-3", "campaign-4", "campaign-4-map"])
def test_registrators_of_the_campaign_take_as_many_steps_whatever_the_translator(name):
    def steps(row: str) -> int:
        c = config_of(name, row, "strategy")
        return int(c.warm_up + c.self_steps + c.rounds * c.student_steps + (c.rounds - 1) * c.refine_steps)

    rows = [cell.row for cell in cells(name) if cell.row.strategy == "colreg"]
    compared = {row.name for row in rows if row.translator != "mimgcd" or row.name == "MIMGCD, one round"}
    assert compared
    colreg = steps("CoLReg, frozen" if name == "campaign-3" else "CoLReg")
    assert {steps(row) for row in compared} == {colreg}


def test_the_third_wave_repeats_no_row_of_the_first():
    assert not set(settings_by_row("campaign-3").values()) & set(settings_by_row("campaign-1").values())


@pytest.mark.parametrize("kind", ["nir", "thermal", "map", "depth"])
def test_the_fourth_wave_has_the_other_embedded_kinds(kind):
    for cell in cells(f"campaign-4-{kind}"):
        assert cell.request().settings("dataset")["b"] == kind
    rows = {cell.row.name for cell in cells(f"campaign-4-{kind}")}
    assert {"identity", "sift", "rift", "supervised", "self-supervised", "contrast-randomised", "CoLReg"} < rows


@pytest.mark.parametrize("path", [path for path in RECIPES if path.stem.startswith("campaign-")], ids=lambda p: p.stem)
def test_pairs_of_the_campaign_are_drawn_online_unless_a_row_says_otherwise(path):
    for cell in cells(path.stem):
        if cell.arguments[0] == "run":
            assert cell.request().pairing == ("frozen" if "frozen" in cell.row.name else "online")
