"""What every strategy promises. It is trained for real, two steps a stage, with small partners."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from regbench.api.registrator import Registrator
from regbench.api.stage import Stage, module_named
from regbench.api.strategy import TrainingStrategy
from regbench.data.sampler import pair_info
from regbench.errors import UsageError
from regbench.plugins.registry import Component
from regbench.runs.context import RunContext
from regbench.testing.compare import assert_equal, assert_same_weights
from regbench.testing.images import labelled_pair
from regbench.testing.parts import PROTOCOL, build_strategy, context, each, partners, planned_stages
from regbench.testing.training import (
    Changes,
    check_changes,
    check_host_reads,
    snapshot,
    tiny_pack,
    train_stage,
)
from regbench.weights.files import load_modules, module_tensors, read_tensors, write_tensors


@dataclass(frozen=True)
class Planned:
    """A strategy after ``build`` and ``stages``."""

    strategy: TrainingStrategy
    context: RunContext
    deployed: Registrator
    stages: tuple[Stage, ...]


def fitting(strategy: Component) -> tuple[Component, Component | None]:
    """The first partners a strategy accepts at its small settings."""
    reason = "no installed registrator and translator fit it"
    for pair in partners(strategy):
        try:
            planned_stages(build_strategy(strategy), context(*pair, pair_info(tiny_pack(), PROTOCOL)))
        except UsageError as error:  # such as rounds with a translator that cannot refine
            reason = str(error)
        else:
            return pair
    pytest.skip(reason)


def plan(strategy: Component, seed: int = 0) -> Planned:
    """Plan a run of a strategy; nothing is trained."""
    ctx = context(*fitting(strategy), pair_info(tiny_pack(), PROTOCOL), seed)
    built = build_strategy(strategy)
    return Planned(built, ctx, built.build(ctx), built.stages(ctx))


_trained: dict[str, tuple[Planned, list[Changes]]] = {}


def trained(strategy: Component) -> tuple[Planned, list[Changes]]:
    """The strategy after two steps of each stage; trained once for all tests. It sees labels only if it declared so."""
    if strategy.name not in _trained:
        planned = plan(strategy)
        labels = planned.strategy.supervision == "homography"
        changes = [train_stage(stage, planned.context, labels=labels) for stage in planned.stages]
        _trained[strategy.name] = planned, changes
    return _trained[strategy.name]


@each("strategy")
def test_strategy_declares_its_supervision(component: Component) -> None:
    """``supervision`` is part of the class: results are labelled by it before anything runs."""
    assert component.load().supervision in ("none", "homography")


@each("strategy")
def test_strategy_plans_without_training(component: Component) -> None:
    """``build`` and ``stages`` train and draw nothing: planned twice, they give bit-identical networks and stages."""
    first, second = plan(component), plan(component)
    assert first.stages
    assert [_described(s) for s in first.stages] == [_described(s) for s in second.stages]
    assert_same_weights(snapshot(second.context.modules), snapshot(first.context.modules))
    names = [s.name for s in first.stages]
    assert len(set(names)) == len(names), f"stages must have different names, got {names}"
    weights = snapshot(first.context.modules)
    assert first.strategy.build(first.context) is not None
    assert [_described(s) for s in first.strategy.stages(first.context)] == [_described(s) for s in first.stages]
    assert_same_weights(snapshot(first.context.modules), weights)


@each("strategy")
def test_strategy_names_the_modules_of_the_run(component: Component) -> None:
    """Every module of a stage is the context's of that name, so that it is saved with the run."""
    planned = plan(component)
    for stage in planned.stages:
        for name, module in stage.modules.items():
            assert module_named(planned.context.modules, name) is module, f"{stage.name}: {name} is not the run's"
        assert all(isinstance(module, Registrator) for module in stage.deploys.values())


@each("strategy")
def test_strategy_deploys_a_registrator_of_the_run(component: Component) -> None:
    """``build`` returns a registrator without a parameter that is not saved with the run."""
    planned = plan(component)
    deployed = planned.deployed
    assert isinstance(deployed, Registrator)
    saved = {id(p) for module in planned.context.modules.values() for p in module.parameters()}
    unsaved = [name for name, p in deployed.named_parameters() if id(p) not in saved]
    assert not unsaved, f"not in ctx.modules, so lost with the process: {unsaved[:5]}"


@each("strategy")
def test_strategy_updates_exactly_what_it_names(component: Component) -> None:
    """Two steps change every module a stage updates; every other parameter keeps its bits."""
    for change in trained(component)[1]:
        check_changes(change)


@each("strategy")
def test_strategy_never_waits_for_the_device(component: Component) -> None:
    """No loss reads a value back, indexes by a mask or branches on a tensor: a GPU would stand still for it."""
    for change in trained(component)[1]:
        check_host_reads(change)


@each("strategy")
def test_strategy_is_rebuilt_from_its_weights(component: Component, tmp_path: Path) -> None:
    """``build`` and the safetensors alone give back what was trained, whatever the initialisation."""
    planned, _ = trained(component)
    path = tmp_path / "weights.safetensors"
    write_tensors(path, module_tensors(planned.context.modules), {"format": "suite"})
    ctx = context(*fitting(component), pair_info(tiny_pack(), PROTOCOL), seed=1)
    again = build_strategy(component).build(ctx)
    load_modules(ctx.modules, read_tensors(path)[0], path)
    source, target, _ = labelled_pair(2, PROTOCOL)
    with torch.inference_mode():
        first, second = (network.eval().register(source, target) for network in (planned.deployed, again))
    assert_equal(second.displacements, first.displacements)


def _described(stage: Stage) -> tuple[object, ...]:
    return stage.name, stage.steps, stage.batch, stage.views, stage.updated, stage.train, sorted(stage.modules)
