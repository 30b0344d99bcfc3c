"""What the name of a shared stage depends on, and who of several runs trains it."""

from __future__ import annotations

import importlib
import io
import json
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from regbench import ComponentConfig, Objective, Stage, Translator
from regbench.errors import InterruptedRun
from regbench.locks import HeldError
from regbench.testing.parts import INFO
from regbench.training.stage_cache import StageCache, code_hash
from tests.training import toy_run as toy


class Mine(Translator):
    def __init__(self) -> None:
        super().__init__(ComponentConfig(), INFO)
        self.layer = nn.Conv2d(3, 3, 1)

    def translate(self, source, target, *, generator=None):
        return self.layer(source)

    def loss(self, batch, shared, weight=1.0):
        return {"loss": torch.zeros(())}


class Strategy:
    def loss(self, batch, shared):
        return {"loss": torch.zeros(())}


def keys(tmp_path, strategy: dict, loss, **more) -> list[str]:
    objective = Objective(updates=("translator",), loss=loss, optimiser=torch.optim.SGD, lr=lambda step: 0.1)
    stage = Stage(name="mine", steps=1, batch=1, views=("unpaired",), objectives=(objective,),
                  modules={"translator": TRANSLATOR}, **more)  # fmt: skip
    return StageCache(tmp_path, {"seed": 0}, strategy, [stage], {"translator": TRANSLATOR}).keys


TRANSLATOR = Mine()
FIRST, SECOND = {"config": {"student": "literal"}}, {"config": {"student": "exposed"}}


@pytest.mark.parametrize("loss", [TRANSLATOR.loss, partial(TRANSLATOR.loss, weight=2.0)])
def test_a_stage_of_the_translator_does_not_depend_on_the_strategy(tmp_path, loss):
    assert len(keys(tmp_path, FIRST, loss)) == 1
    assert keys(tmp_path, FIRST, loss) == keys(tmp_path, SECOND, loss)


@pytest.mark.parametrize("loss", [Strategy().loss, partial(Strategy().loss), lambda batch, shared: {}, Mine().loss])
def test_a_stage_of_anything_else_does(tmp_path, loss):
    """Also of a translator that is none of this run's."""
    assert not set(keys(tmp_path, FIRST, loss)) & set(keys(tmp_path, SECOND, loss))


@pytest.mark.parametrize("hook", ["begin", "setup", "shared"])
def test_a_strategys_callback_counts_as_well(tmp_path, hook):
    more = {hook: lambda *batch: {}}
    assert not set(keys(tmp_path, FIRST, TRANSLATOR.loss, **more)) & set(
        keys(tmp_path, SECOND, TRANSLATOR.loss, **more)
    )


def test_the_code_of_a_package_is_its_sources(tmp_path, monkeypatch):
    package = tmp_path / "mine_to_hash"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("mine_to_hash")
    hashes = [code_hash("mine_to_hash")]
    (package / "notes.txt").write_text("no source")
    assert code_hash("mine_to_hash") == hashes[0]
    (package / "__init__.py").write_text("x = 1")
    hashes.append(code_hash("mine_to_hash"))
    (package / "__init__.py").rename(package / "y.py")
    hashes.append(code_hash("mine_to_hash"))
    assert len(set(hashes)) == 3
    assert code_hash("regbench", "mine_to_hash") not in hashes


def cache(folder) -> StageCache:
    objective = Objective(updates=("translator",), loss=TRANSLATOR.loss, optimiser=torch.optim.SGD, lr=lambda step: 0.1)
    stage = Stage("mine", 1, 1, ("unpaired",), (objective,), {"translator": TRANSLATOR})
    return StageCache(folder, {"seed": 0}, FIRST, [stage], {"translator": TRANSLATOR})


def test_of_runs_that_start_together_one_trains(tmp_path, monkeypatch):
    trained, waiting, entered = [], threading.Event(), threading.Event()
    shared = cache(tmp_path)
    told = io.StringIO()
    monkeypatch.setattr(told, "flush", waiting.set)  # after the line that says so
    monkeypatch.setattr(sys, "stderr", told)

    def run(name: str, meanwhile: threading.Event | None) -> None:
        with shared.alone(0):
            entered.set()
            if shared.load(0) is None:
                if meanwhile is not None:
                    assert meanwhile.wait(30), "the second run did not wait"
                trained.append(name)
                shared.store(0, 1.0)

    first = threading.Thread(target=run, args=("first", waiting))
    first.start()
    assert entered.wait(30)
    run("second", None)
    first.join()
    assert trained == ["first"]
    assert "waiting for another process that trains the same stage" in told.getvalue()


def toy_run(folder: Path, shared: Path, after=None) -> tuple[dict[str, nn.Module], list[dict]]:
    """Twelve steps of a translator, as one of several runs that share them; its modules and its log."""
    modules = {"translator": Mine()}

    def loss(batch, _):
        return {"loss": (modules["translator"].layer.weight.sum() - batch.pair.target.mean()) ** 2}

    objective = Objective(("translator",), loss, toy.SGD, lambda step: 0.01, after=after)
    stage = Stage("mine", 12, 8, ("pair",), (objective,), modules)
    stage_cache = StageCache(shared, {"seed": 0}, FIRST, [stage], modules)
    toy.trainer(folder, modules, stages=(stage,), seconds=1e9, stage_cache=stage_cache).fit()
    return modules, [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_an_interrupted_run_takes_over_what_another_trained_meanwhile(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with pytest.raises(InterruptedRun, match="stage mine at step 1"):
        toy_run(tmp_path / "first", tmp_path, after=lambda: signal.raise_signal(signal.SIGTERM))
    trained, log = toy_run(tmp_path / "second", tmp_path)
    assert [entry["step"] for entry in log] == list(range(1, 13))
    resumed, log = toy_run(tmp_path / "first", tmp_path)
    assert [entry["step"] for entry in log] == [1, 12]
    assert log[-1]["taken_over"]
    assert torch.equal(resumed["translator"].layer.weight, trained["translator"].layer.weight)


def test_an_interrupted_run_goes_on_where_no_other_began(tmp_path):
    (tmp_path / "first").mkdir()
    with pytest.raises(InterruptedRun):
        toy_run(tmp_path / "first", tmp_path, after=lambda: signal.raise_signal(signal.SIGTERM))
    _, log = toy_run(tmp_path / "first", tmp_path)
    assert [entry["step"] for entry in log] == list(range(1, 13))


def test_an_error_within_is_no_lock_that_is_held(tmp_path):
    with pytest.raises(HeldError, match="mine"), cache(tmp_path).alone(0):
        raise HeldError("mine")
