from __future__ import annotations

import dataclasses
import json
import os
import signal

import pytest
import torch
from torch import nn

from regbench.errors import DataError, DivergedError, InterruptedRun, PluginError, RegbenchError
from regbench.training.checkpoint import read_checkpoint
from regbench.training.step import all_finite
from tests.training import toy_run as toy


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the product may catch it."""


def weights(m: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {f"{n}.{k}": v.clone() for n, module in m.items() for k, v in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, torch.Tensor]:
    m = toy.modules()
    toy.trainer(tmp_path_factory.mktemp("reference"), m).fit()
    return weights(m)


@pytest.mark.parametrize("kill_at", [1, 5, 12, 13, 20, 23])
def test_resume_is_bit_identical(tmp_path, reference, kill_at):
    m = toy.modules()
    run = toy.trainer(tmp_path, m)
    steps = 0
    original = run._step

    def dying(*args):
        nonlocal steps
        steps += 1
        if steps == kill_at:
            raise Killed
        return original(*args)

    run._step = dying
    with pytest.raises(Killed):
        run.fit()
    resumed = toy.modules()
    events: list[str] = []
    toy.trainer(tmp_path, resumed, events=events).fit()
    assert same(weights(resumed), reference)
    assert ("begin first" in events) == (kill_at == 1), "begin runs once, when the stage starts afresh"


@pytest.mark.parametrize("nth", [1, 3, 14])
def test_a_kill_during_a_checkpoint_write_leaves_the_old_one(tmp_path, reference, monkeypatch, nth):
    from regbench.weights import files

    original, count = files.save_file, 0

    def dying(tensors, path, metadata):
        nonlocal count
        count += 1
        original(tensors, path, metadata)
        if count == nth:
            with open(path, "rb+") as file:  # half of it reached the disk
                file.truncate(os.path.getsize(path) // 2)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files, "save_file", dying)
        with pytest.raises(Killed):
            toy.trainer(tmp_path).fit()
    m = toy.modules()
    toy.trainer(tmp_path, m).fit()
    assert same(weights(m), reference)


def test_frozen_modules_do_not_change(reference):
    start = weights(toy.modules())
    for key, value in start.items():
        assert torch.equal(reference[key], value) == key.startswith("frozen")


def test_gradient_is_taken_for_updated_modules_alone(tmp_path):
    m = toy.modules()
    toy.trainer(tmp_path, m, steps=2).fit()
    assert all(p.grad is None for p in m["frozen"].parameters())
    assert all(p.requires_grad for module in m.values() for p in module.parameters())


def test_average_replaces_the_weights_at_the_end(tmp_path):
    first = toy.modules()
    plain = toy.stages(first, 6)[:1]
    toy.trainer(tmp_path / "a", first, stages=plain).fit() if (tmp_path / "a").mkdir() is None else None
    m = toy.modules()
    stage = toy.stages(m, 6)[0]
    objective = dataclasses.replace(stage.objectives[0], ema=None)
    seen = []
    objective = dataclasses.replace(objective, after=lambda: seen.append(weights(m)))
    stage = dataclasses.replace(stage, objectives=(objective, stage.objectives[1]))
    (tmp_path / "b").mkdir()
    toy.trainer(tmp_path / "b", m, stages=(stage,)).fit()
    average = {k: v.clone() for k, v in weights(toy.modules()).items() if k.startswith("a.")}
    for step, snapshot in enumerate(seen):
        decay = min(0.9, (1 + step) / (10 + step))  # a young average forgets faster
        for key, value in average.items():
            value.mul_(decay).add_(snapshot[key], alpha=1 - decay)
    for key, value in average.items():
        torch.testing.assert_close(weights(first)[key], value)


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    m = toy.modules()
    stage = toy.stages(m)[1]
    calls = 0

    def loss(batch, shared):
        nonlocal calls
        calls += 1
        value = m["b"](batch.pair.source).mean()
        return {"loss": value * float("nan") if calls == 7 else value}

    objective = dataclasses.replace(stage.objectives[0], loss=loss)
    stage = dataclasses.replace(stage, objectives=(objective,), begin=None)
    with pytest.raises(DivergedError, match="not finite between steps 6 and 7"):
        toy.trainer(tmp_path, m, stages=(stage,)).fit()
    kept = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert kept is not None
    assert kept.state.step == 6
    assert all(v.isfinite().all() for v in kept.tensors.values() if v.is_floating_point())


def _first_stage_with(m, loss, **changes):
    """One objective, of the module b, and the stages it makes."""
    stage = toy.stages(m)[1]
    objective = dataclasses.replace(stage.objectives[0], **{"loss": loss, "clip": None, **changes})
    return (dataclasses.replace(stage, objectives=(objective,), begin=None),)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("at", [7, 12])
def test_a_gradient_that_is_not_finite_is_no_result(tmp_path, clip, at):
    """The root of zero is finite, its derivative is not; 12 is the last step."""
    m = toy.modules()
    calls = 0

    def loss(batch, shared):
        nonlocal calls
        calls += 1
        value = m["b"](batch.pair.source).mean()
        return {"loss": (value * 0).sqrt() if calls == at else value}

    with pytest.raises(DivergedError, match=rf"not finite between steps {at - 1} and {at}"):
        toy.trainer(tmp_path, m, stages=_first_stage_with(m, loss, clip=clip)).fit()
    kept = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert kept is not None
    assert kept.state.step == at - 1
    assert all(v.isfinite().all() for v in kept.tensors.values() if v.is_floating_point())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, value):
    """Whatever made them so: here what a strategy does after a step."""
    m = toy.modules()
    calls = 0

    def after():
        nonlocal calls
        calls += 1
        if calls == 5:
            m["frozen"].weight.data.fill_(value)  # no loss uses it

    def loss(batch, shared):
        return {"loss": m["b"](batch.pair.source).mean()}

    with pytest.raises(DivergedError, match="weights are not finite after step 5"):
        toy.trainer(tmp_path, m, stages=_first_stage_with(m, loss, after=after)).fit()
    kept = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert kept is not None
    assert kept.state.step == 4


def test_a_buffer_may_hold_infinity_and_no_nan(tmp_path):
    m = toy.modules()
    m["b"].register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    assert bool(all_finite(m))
    m["b"].mask[0] = float("nan")
    assert not bool(all_finite(m))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda value: value, "must return a dict with the key 'loss', got Tensor"),
        (lambda value: {"los": value}, "must return a dict with the key 'loss'"),
        (lambda value: None, "must return a dict with the key 'loss', got NoneType"),
        (lambda value: {"loss": 1.0}, "'loss' is float"),
        (lambda value: {"loss": value.expand(3)}, r"'loss' is a tensor \(3,\)"),
        (lambda value: {"loss": value, "other": "x"}, "'other' is str"),
        (lambda value: {"loss": value.detach()}, "does not depend on what it updates"),
    ],
)
def test_a_loss_of_another_form_is_told(tmp_path, returned, said):
    m = toy.modules()
    stages = _first_stage_with(m, lambda batch, shared: returned(m["b"](batch.pair.source).mean()))
    with pytest.raises(PluginError, match=rf"stage 'second': the loss of b .*{said}"):
        toy.trainer(tmp_path, m, stages=stages).fit()


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    from regbench.weights import files

    original, count = files.save_file, 0

    def full(tensors, path, metadata):
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        original(tensors, path, metadata)

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(RegbenchError, match=r"the disk is full.*run the same command again") as error:
        toy.trainer(tmp_path).fit()
    assert "\n" not in str(error.value)
    kept = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert kept is not None
    assert kept.state.step == 3


def test_a_signal_writes_a_checkpoint_and_stops(tmp_path, reference):
    m = toy.modules()
    stages = toy.stages(m)
    objective = dataclasses.replace(
        stages[0].objectives[0], after=lambda: os.kill(os.getpid(), signal.SIGTERM)
    )  # in the first step
    interrupted = dataclasses.replace(stages[0], objectives=(objective, stages[0].objectives[1]))
    with pytest.raises(InterruptedRun, match="stage first at step 1"):
        toy.trainer(tmp_path, m, stages=(interrupted, stages[1]), seconds=1e9).fit()
    resumed = toy.modules()
    toy.trainer(tmp_path, resumed).fit()
    assert same(weights(resumed), reference)


def test_a_broken_checkpoint_is_one_line(tmp_path):
    toy.trainer(tmp_path).fit()
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="truncated"):
        toy.trainer(tmp_path).fit()


def test_log_holds_every_objective(tmp_path):
    toy.trainer(tmp_path, steps=3).fit()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(e["stage"], e["step"]) for e in lines] == [(s, i) for s in ("first", "second") for i in (1, 2, 3)]
    assert {"a/loss", "b/loss"} <= set(lines[0])
    assert "loss" in lines[-1]


def test_frozen_is_not_eval(tmp_path):
    m = toy.modules()
    stage = toy.stages(m, 2)[0]
    modes = []
    objective = dataclasses.replace(
        stage.objectives[0], after=lambda: modes.append({n: x.training for n, x in m.items()})
    )
    stage = dataclasses.replace(stage, objectives=(objective,), train=("a", "frozen"))
    toy.trainer(tmp_path, m, stages=(stage,)).fit()
    assert modes[0] == {"a": True, "b": False, "frozen": True}


@pytest.mark.parametrize(("precisions", "expected"), [(("bf16", "bf16"), True), (("fp32", "bf16"), False)])
def test_what_objectives_share_has_their_precision(tmp_path, precisions, expected):
    m = toy.modules()
    stage = toy.stages(m, 1)[0]
    seen = []
    objectives = tuple(
        dataclasses.replace(o, precision=precision) for o, precision in zip(stage.objectives, precisions, strict=True)
    )
    stage = dataclasses.replace(
        stage, objectives=objectives, shared=lambda batch: {"asked": seen.append(torch.is_autocast_enabled("cpu"))}
    )
    toy.trainer(tmp_path, m, stages=(stage,)).fit()
    assert seen == [expected]


def test_modules_a_stage_does_not_list_are_in_evaluation_mode(tmp_path):
    m = toy.modules()
    m["frozen"].train()
    stage = toy.stages(m)[0]
    seen = []
    objective = dataclasses.replace(stage.objectives[0], after=lambda: seen.append(m["frozen"].training))
    listed = {name: module for name, module in stage.modules.items() if name != "frozen"}
    stage = dataclasses.replace(stage, objectives=(objective,), modules=listed)
    toy.trainer(tmp_path, m, stages=(stage,)).fit()
    assert seen
    assert not any(seen)


def test_a_module_that_is_not_the_runs_is_refused(tmp_path):
    m = toy.modules()
    with pytest.raises(RegbenchError, match="'b' is not the run's module"):
        toy.trainer(tmp_path, m | {"b": nn.Linear(4, 1)}, stages=toy.stages(m))


def test_deploys_are_scored_to_file_and_do_not_change_training(tmp_path, reference):
    m = toy.modules()
    stages = [dataclasses.replace(s, deploys={"b": m["b"]}) for s in toy.stages(m)]

    ends = []

    def score(module: nn.Module, name: str, end_of: str | None) -> dict[str, float]:
        ends.append((name, end_of))
        torch.rand(3)  # an evaluator may draw random numbers
        module.eval()
        return {"mace": float(module.weight.detach().sum())}

    run = toy.trainer(tmp_path, m, stages=stages, score=score)
    run.config = run.config.model_copy(update={"eval_every": 5})
    run.fit()
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [(e["stage"], e["step"]) for e in curve] == [(s, i) for s in ("first", "second") for i in (5, 10, 12)]
    assert ends == [("b", end) for s in ("first", "second") for end in (None, None, s)]
    assert same(weights(m), reference)


def test_timed_steps_are_those_of_training_and_write_nothing(tmp_path):
    trained, timed = toy.modules(), toy.modules()
    _, stage = toy.stages(trained, steps=4)
    toy.trainer(tmp_path, trained, stages=(stage,)).fit()
    _, stage = toy.stages(timed, steps=4)
    step = toy.trainer(tmp_path / "nowhere", timed, stages=(stage,)).timed_steps(stage)
    for _ in range(4):
        step()
    assert same(weights(trained), weights(timed))
    assert not (tmp_path / "nowhere").exists()
