"""Stages that runs have in common are trained once, and it changes no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from regbench.runs import learning
from regbench.runs.learning import stage_cache_of
from regbench.runs.plan import make_plan
from regbench.runs.request import Request
from tests.e2e.command_line import SMOKE, TINY

COLREG = ["run", "--strategy", "colreg", "--translator", "mimgcd", "--set", "strategy.rounds=1", *SMOKE[:2], *TINY]
COLREG += ["--set", "strategy.self_steps=2", "--set", "strategy.student_steps=2", "--set", "translator.steps=3"]


def train(inline, registrator: str, out: str, *more: str):
    done = inline(*COLREG, "--registrator", registrator, *more, "--out", out, "--json")
    assert done.code == 0, done.err
    (folder,) = Path(out).iterdir()
    return done, load_file(folder / "weights.safetensors"), (folder / "log.jsonl").read_text()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_another_registrator_takes_the_translator_over(inline, tmp_path):
    share = ["--set", "run.share=shared"]
    _, alone, _ = train(inline, "dhn", "alone")
    first, _, log = train(inline, "dhn-resnet34", "first", *share)
    assert "taken_over" not in log
    assert len(list((tmp_path / "shared").glob("*.safetensors"))) == 1, "the stages of R depend on the registrator"
    second, shared, log = train(inline, "dhn", "second", *share)
    assert '"stage": "mimgcd", "step": 3, "taken_over": true' in log
    assert "trained by another run" in second.err
    assert equal(alone, shared)
    of_first, of_second = (done.json["training"]["stages"][0] for done in (first, second))
    assert of_first == of_second, "what another run spent counts"


@pytest.fixture
def keys(packs, monkeypatch, tmp_path):
    """Of the stages a run could share."""
    monkeypatch.setenv("REGBENCH_DATA", str(packs))

    def of(
        registrator: str = "dhn", seed: int = 0, pairing: str = "frozen", strategy: dict | None = None, **translator
    ) -> list[str]:
        sets = {
            "dataset": {"train": 6, "test": 6, "size": 112},
            "strategy": {"rounds": 1} | (strategy or {}),
            "translator": translator,
            "run": {"share": str(tmp_path)},
        }
        request = Request(registrator, "colreg", "mimgcd", budget="smoke", pairing=pairing, seed=seed, sets=sets)
        return stage_cache_of(make_plan(request)).keys

    return of


def test_only_what_decides_the_stages_is_in_their_key(keys):
    mine = keys()
    assert len(mine) == 1
    assert keys(registrator="mhn") == mine
    assert keys(strategy={"student": "literal"}) == mine, "the stage is the translator's, and knows no student"
    assert keys(strategy={"rounds": 2})[:1] == mine
    others = [keys(seed=1), keys(pairing="online"), keys(steps=7), keys(mim="index")]
    assert len({key for other in others for key in other} | set(mine)) == 5


def test_other_code_makes_another_key(keys, monkeypatch):
    mine = keys()
    monkeypatch.setattr(learning, "code_hash", lambda *packages: "other")
    assert not set(keys()) & set(mine)


@pytest.mark.slow
def test_a_damaged_file_is_trained_again(inline, tmp_path):
    share = ["--set", "run.share=shared"]
    train(inline, "dhn", "first", *share)
    (file,) = (tmp_path / "shared").glob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    _, _, log = train(inline, "dhn-resnet34", "second", *share)
    assert "taken_over" not in log
    assert len(file.read_bytes()) == len(whole)
