"""Every strategy from the command line to a result, with a one-shot reader of correlations and an iterative one."""

from __future__ import annotations

import json

import pytest

from tests.e2e.command_line import SMOKE

STRATEGIES = (
    "supervised",
    "self-supervised",
    "contrast-randomised",
    "scpnet",
    "alto",
    "cudhn",
    "bihome",
    "nemar",
    "dfmir",
)
TRANSLATORS = {"nemar": "mimgcd", "dfmir": "cut"}


@pytest.mark.parametrize("registrator", ["mcnet", "ihn1"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.slow
def test_smoke(regbench, strategy, registrator):
    translator = ["--translator", TRANSLATORS[strategy]] if strategy in TRANSLATORS else []
    done = regbench("run", "--registrator", registrator, "--strategy", strategy, *translator, *SMOKE, "--json")
    assert done.code == 0, done.err
    result = done.json
    assert result["identity"]["supervision"] == ("homography" if strategy == "supervised" else "none")
    health = result["training"]["health"]
    assert [e["stage"] for e in health] == [s["name"] for s in result["training"]["stages"]]
    assert all(0 <= e["valid"] <= 1 and 0 <= e["overlap"] <= 1 for e in health)
    named_by_its_paper = (strategy, registrator) in {("alto", "ihn1")} or "supervised" in strategy
    assert result["training"]["of_no_paper"] is not named_by_its_paper
    folder = next((regbench.folder / "runs").iterdir())
    losses = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert losses
    assert (folder / "health.jsonl").is_file()
