"""Only runs that did the same work say how long a cell will train."""

from __future__ import annotations

from pathlib import Path

import pytest

from regbench.ablation.cells import cells_of
from regbench.ablation.expected_time import expected_seconds
from regbench.ablation.recipe import Recipe, RecipeRow
from regbench.results import Identity, Result, run_id_of, write_result
from regbench.runs.request import configure
from regbench.settings import budget_of

ROW = RecipeRow(name="row", registrator="dhn", strategy="supervised", budget="smoke", set={"strategy": {"steps": 7}})


def cells(*rows: RecipeRow):
    recipe = Recipe(name="r", title="t", budget="smoke", seeds=(0,), rows=rows, transfer=("vedai",))
    return cells_of(recipe, {}, lambda name: True, "cpu")


def component(role: str, name: str, settings: dict | None = None) -> dict:
    configured = configure(role, name, settings, budget_of("smoke"))
    return {"name": name, "version": "1", "distribution": "d", "config": configured.config.model_dump(mode="json")}


def finished(
    folder: Path, seconds: float, seed=0, patch=64, device="cpu", precision="fp32", strategy=None, budget="smoke"
) -> Result:
    """A finished run of ``ROW``, written as a run directory."""
    identity = Identity.model_validate(
        {
            "translator": None,
            "registrator": component("registrator", "dhn"),
            "strategy": strategy or component("strategy", "supervised", {"steps": 7}),
            "train_dataset": {"name": "synthetic", "pack_sha256": "a" * 64},
            "test_dataset": {"name": "synthetic", "manifest_sha256": "a" * 64},
            "protocol": {"patch": patch, "rho": 16, "pairing": "online"},
            "seed": seed,
            "budget": budget,
            "metric_version": 1,
            "supervision": "homography",
        }
    )
    result = Result(
        run_id=run_id_of(identity),
        status="ok",
        verdict="aligned",
        identity=identity,
        metrics={"mace": {"value": 1.0}},
        timing={"device": device},
        training={"seconds": seconds, "precision": precision},
    )
    write_result(folder / result.run_id / "result.json", result)
    return result


def patch_of(budget: str) -> int:
    return budget_of(budget).protocol["patch"]


def test_the_median_of_the_same_work_is_expected(tmp_path):
    for seed, seconds in enumerate((10, 1000, 30)):
        finished(tmp_path, seconds, seed, patch_of("smoke"))
    assert expected_seconds(cells(ROW), "cpu", [tmp_path]) == {"row-synthetic-0": 30}, "judging is no training"


def test_a_run_counts_once_and_where_it_was_found_first(tmp_path):
    same = finished(tmp_path / "runs", 10, patch=patch_of("smoke"))
    slower = same.model_copy(update={"training": {"seconds": 90, "precision": "fp32"}})
    write_result(tmp_path / "boards" / "results" / "board" / f"{same.run_id}.json", slower)
    folders = [tmp_path / "runs", tmp_path / "boards", tmp_path / "nowhere"]
    assert expected_seconds(cells(ROW), "cpu", folders) == {"row-synthetic-0": 10}
    assert expected_seconds(cells(ROW), "cpu", folders[1:]) == {"row-synthetic-0": 90}


@pytest.mark.parametrize(
    "other",
    [
        {"patch": 1 + patch_of("smoke")},
        {"device": "cuda"},
        {"precision": "bf16"},
        {"budget": "quick"},
        {"strategy": component("strategy", "self-supervised")},
        {"strategy": component("strategy", "supervised", {"steps": 8})},
        {"strategy": component("strategy", "supervised")},
    ],
)
def test_runs_of_other_work_say_nothing(tmp_path, other):
    finished(tmp_path, 10, **({"patch": patch_of("smoke")} | other))
    assert expected_seconds(cells(ROW), "cpu", [tmp_path]) == {}


def test_a_setting_left_at_its_default_is_a_setting(tmp_path):
    """A run of seven steps says nothing about a row that leaves the number to the budget."""
    finished(tmp_path, 10, patch=patch_of("smoke"))
    assert expected_seconds(cells(ROW.model_copy(update={"set": {}})), "cpu", [tmp_path]) == {}


def test_a_setting_that_came_since_does_not_make_a_run_useless(tmp_path):
    strategy = component("strategy", "supervised", {"steps": 7})
    del strategy["config"]["batch"]
    strategy["config"]["gone"] = True
    finished(tmp_path, 10, patch=patch_of("smoke"), strategy=strategy)
    assert expected_seconds(cells(ROW), "cpu", [tmp_path]) == {"row-synthetic-0": 10}


def test_what_is_wrong_or_broken_is_left_out(tmp_path):
    finished(tmp_path, 10, patch=patch_of("smoke"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text("{")
    wrong = ROW.model_copy(update={"name": "wrong", "set": {"strategy": {"nonsense": 1}}})
    assert expected_seconds(cells(ROW, wrong), "cpu", [tmp_path]) == {"row-synthetic-0": 10}
