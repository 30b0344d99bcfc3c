"""Components that do not keep their promises: each is told by name before or while it runs, and none is believed."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regbench import PairInfo, Registration, Registrator, Stage, TrainingStrategy
from regbench.alignment.methods import Method
from regbench.api.config import ComponentConfig
from regbench.errors import PluginError
from regbench.metrics.summary import summarise
from regbench.metrics.types import PairErrors
from regbench.plugins.blame import at_fault
from regbench.plugins.registry import Component, registry
from regbench.runs import strategies
from regbench.runs.context import ConfiguredComponent
from regbench.runs.execute import execute
from tests.runs.place import Place

SIZE = (64, 64)


class Answers(Registrator):
    """Gives whatever it is told to."""

    any_size = True

    def __init__(self, answer):
        super().__init__(ComponentConfig(), PairInfo(patch=64, rho=16))
        self.answer = answer

    def forward(self, source, target):
        return self.answer(source)


def registered(answer, size=SIZE, pairs=2):
    images = torch.rand(pairs, 3, *size)
    return Answers(answer).register(images, images)


def displaced(*corners):
    """A registration with these displacements of TL, TR, BL, BR for every pair."""

    def answer(source):
        d = torch.tensor(corners, dtype=torch.float32).expand(1, len(source), 4, 2)
        return Registration(d, (source.shape[-2], source.shape[-1]))

    return answer


NAN, W = float("nan"), 63.0
UNUSABLE = {
    "nan": ((NAN, 0), (0, 0), (0, 0), (0, 0)),
    "infinite": ((float("inf"), 0), (0, 0), (0, 0), (0, 0)),
    "three corners on a line": ((0, 0), (-W / 2, 0), (W / 2, -W / 2), (0, 0)),
    "all corners in one place": ((0, 0), (-W, 0), (0, -W), (-W, -W)),
    "two corners in one place": ((0, 0), (-W, 0), (0, 0), (0, 0)),
    "folded": ((W, 0), (-W, 0), (0, 0), (0, 0)),
    "mirrored": ((W, 0), (-W, 0), (W, 0), (-W, 0)),
    "not convex": ((50, 50), (0, 0), (0, 0), (0, 0)),
    "huge": ((3e38, 0), (-3e38, 0), (0, 0), (0, 0)),
}


@pytest.mark.parametrize("corners", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_homography_is_never_ok(corners):
    assert not registered(displaced(*corners)).ok.any()


@pytest.mark.parametrize("corners", [((0, 0),) * 4, ((5, 3), (-4, 2), (1, 1), (30, 30)), ((1e5, 0),) * 4])
def test_a_usable_homography_is_ok(corners):
    found = registered(displaced(*corners))
    assert found.ok.all()
    assert found.homography.isfinite().all()


@pytest.mark.parametrize("corners", UNUSABLE.values(), ids=UNUSABLE)
def test_nor_for_a_users_own_images(corners):
    image = np.random.default_rng(0).random((*SIZE, 3), dtype=np.float32)
    assert Method("x", Answers(displaced(*corners)), torch.device("cpu")).find(image, image).homography is None


WRONG = {
    "a tensor": (lambda s: torch.zeros(len(s), 4, 2), "a Tensor, no regbench.Registration"),
    "nothing": (lambda s: None, "a NoneType"),
    "fewer pairs": (lambda s: Registration(torch.zeros(1, 1, 4, 2), SIZE), r"displacements \(1, 1, 4, 2\) for 2 pairs"),
    "no iteration": (lambda s: Registration(torch.zeros(0, 2, 4, 2), SIZE), r"displacements \(0, 2, 4, 2\)"),
    "integers": (
        lambda s: Registration(torch.zeros(1, 2, 4, 2, dtype=torch.int64), SIZE),
        "displacements of torch.int64, no floats",
    ),
    "another size": (lambda s: Registration(torch.zeros(1, 2, 4, 2), (1, 1)), r"a size \(1, 1\) for a source of \(64"),
    "ok of numbers": (
        lambda s: Registration(torch.zeros(1, 2, 4, 2), SIZE, torch.ones(2)),
        "ok of torch.float32 on cpu, no bool on cpu",
    ),
    "another device": (lambda s: Registration(torch.zeros(1, 2, 4, 2, device="meta"), SIZE), "displacements on meta"),
}


@pytest.mark.parametrize(("answer", "said"), WRONG.values(), ids=WRONG)
def test_what_forward_gives_is_held_to_its_contract(answer, said):
    with pytest.raises(PluginError, match=rf"tests\.runs\.test_contracts\.Answers\.forward gave {said}"):
        registered(answer)


class Word(str):
    """A text that is equal to every other."""

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Quiet(TrainingStrategy):
    supervision = "none"

    def build(self, ctx):
        return ctx.registrator()

    def stages(self, ctx):
        return ()


def configured(cls) -> ConfiguredComponent:
    component = Component("strategy", "mine", "x:Mine", distribution="mine-dist")
    object.__setattr__(component, "load", lambda: cls)
    return ConfiguredComponent(component, ComponentConfig())


@pytest.mark.parametrize("word", [Word("none"), Word("homography"), "None", "full", None, 5, b"none", ["none"], True])
def test_supervision_is_one_of_the_words_and_nothing_like_it(word):
    strategy = configured(type("Mine", (Quiet,), {"supervision": word}))
    with pytest.raises(PluginError, match="strategy 'mine' of mine-dist: supervision must be 'none' or 'homography'"):
        strategies.supervision_of(strategies.strategy_of(strategy), strategy)


@pytest.mark.parametrize("word", ["none", "homography"])
def test_the_words_are_taken(word):
    strategy = configured(type("Mine", (Quiet,), {"supervision": word}))
    assert strategies.supervision_of(strategies.strategy_of(strategy), strategy) == word


@pytest.mark.parametrize("cls", [object, None, 5, Registrator, lambda config: None])
def test_a_class_that_is_no_strategy_is_told(cls):
    with pytest.raises(PluginError, match="of mine-dist: x:Mine is no TrainingStrategy"):
        strategies.strategy_of(configured(cls))


@pytest.mark.parametrize("stages", [(), None, [1], "stages", ("a", "b"), SimpleNamespace()])
def test_stages_that_are_none_are_told(stages):
    strategy = configured(type("Mine", (Quiet,), {"stages": lambda self, ctx: stages}))
    with pytest.raises(PluginError, match="of mine-dist: stages must give a tuple of at least one Stage"):
        strategies.stages_of(strategies.strategy_of(strategy), None, strategy)


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "a\nb"])
def test_a_stage_whose_name_is_a_path_is_told(name):
    stage = Stage(name, 1, 1, ("pair",), (), {})
    strategy = configured(type("Mine", (Quiet,), {"stages": lambda self, ctx: (stage,)}))
    with pytest.raises(PluginError, match="of mine-dist: stages and what they deploy have plain names"):
        strategies.stages_of(strategies.strategy_of(strategy), None, strategy)


def errors() -> PairErrors:
    return PairErrors(np.arange(8.0), np.full(8, 4.0), np.ones(8, bool), np.arange(8))


def writes(errors: PairErrors) -> float:
    errors.error[:] = 0
    return 0.0


def writes_below(errors: PairErrors) -> float:
    """As a plugin may that means to."""
    base = errors.error.base if errors.error.base is not None else errors.error
    base.setflags(write=True)
    base[:] = 0
    return 0.0


def replaces(errors: PairErrors) -> float:
    object.__setattr__(errors, "error", np.zeros(8))
    return 0.0


def test_a_metric_that_writes_into_the_errors_is_stopped():
    with pytest.raises(ValueError, match="read-only"):
        summarise(errors(), {"mine": writes, "mace": lambda e: float(e.scored.mean())})


@pytest.mark.parametrize("metric", [writes_below, replaces])
def test_a_metric_changes_nothing_that_others_judge(metric):
    judged = errors()
    entries = summarise(judged, {"mine": metric, "mace": lambda e: float(e.scored.mean())})
    assert entries["mace"]["value"] == 3.5
    assert judged.error.tolist() == list(range(8))


@pytest.mark.parametrize("value", [None, "x", [1, 2], np.zeros(3), {}])
def test_a_metric_that_gives_no_number_is_told(value):
    with pytest.raises(PluginError, match="metric 'mine' must return a number"):
        summarise(errors(), {"mine": lambda e: value})


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))
    return Place(tmp_path).fill()


@pytest.mark.parametrize("code", [0, 1, None, "bye"])
def test_a_component_that_exits_fails_the_run(place, monkeypatch, code):
    def exits(self, source, target):
        raise SystemExit(code)

    monkeypatch.setattr(registry().get("registrator", "identity").load(), "forward", exits)
    plan = place.plan(registrator="identity", weights=None, sets={"registrator": {}})
    with pytest.raises(PluginError, match=r"ended the program by sys\.exit"):
        execute(plan)
    record = json.loads((plan.folder / "result.json").read_text())
    assert record["status"] == "failed"
    assert "sys.exit" in record["reason"]


def test_an_error_names_the_plugin_it_comes_from_and_no_text_loses_the_record(place, monkeypatch):
    plan = place.plan(registrator="identity", weights=None, sets={"registrator": {}})
    cls = registry().get("registrator", "identity").load()
    code = "def forward(self, source, target):\n    raise ValueError('a\\ud800b')\n"
    space = {"__name__": cls.__module__}
    exec(code, space)
    monkeypatch.setattr(cls, "forward", space["forward"])
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        execute(plan)
    assert at_fault(caught.value) == " in regbench-registrators (regbench_registrators.identity, line 2)"
    record = json.loads((plan.folder / "result.json").read_text())
    assert record["reason"].startswith("ValueError: a\\ud800b in regbench-registrators")
