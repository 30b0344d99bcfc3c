"""What runs on the simulated device: a few steps of every stage with checkpoint and resume, then the judging.

Nothing here is of the simulated device alone: ``tests/gpu`` does the same on a real one.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from regbench.api.config import ComponentConfig
from regbench.api.stage import Stage
from regbench.api.types import Batch
from regbench.data.manifest import test_manifest
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler, pair_info
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench.data.test_pairs import TestPairs
from regbench.errors import InterruptedRun
from regbench.evaluation.evaluator import Evaluator
from regbench.evaluation.label_free import assess
from regbench.evaluation.translation import assess_translation
from regbench.plugins.registry import Component, registry
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.runs.request import device_of
from regbench.settings import build_config
from regbench.testing.parts import PROTOCOL, ConstantTeacher, configured, planned_stages
from regbench.testing.training import tiny_pack
from regbench.training.health import Health
from regbench.training.trainer import Trainer
from tests.simulated_device.recorded import RECORDED

_FOLDER = TemporaryDirectory(prefix="simulated-device-")  # deleted when the process ends
STEPS = 5
STOPPED_AFTER = 2
MEASURED = 3
"""Number of the step, from 0, that is looked at: after a resume, before the last, which reads the loss."""


@dataclass(frozen=True)
class Work:
    """One combination."""

    registrator: str
    strategy: str | None = None
    translator: str | None = None
    precision: str = "fp32"
    device: str = "cuda"
    batch: int = 4
    published: bool = False
    """Networks and patches of published size, two steps a stage, to count launches; nothing is judged."""
    only: str = ""
    """Stages whose names begin with this."""
    judged: bool = True
    plant: str | None = None


class _Watched:
    """A sampler that tells when a step begins."""

    def __init__(self, sampler: PairSampler, begins: Callable[[int], None]) -> None:
        self._sampler, self._begins = sampler, begins
        self.device = sampler.device

    def batch(self, stage: str, step: int, size: int, views: tuple[str, ...]) -> Batch:
        """The sampler's own batch."""
        self._begins(step)
        return self._sampler.batch(stage, step, size, views)


def run(work: Work) -> dict[str, Any]:
    """Do it; returns what was counted, by stage, and the seconds it took."""
    started = time.monotonic()
    pack, protocol = (large_pack(), Protocol(patch=128, rho=32)) if work.published else (tiny_pack(), PROTOCOL)
    if work.device != "cpu":
        torch.cuda.set_device(0)  # as in a process that has just begun
    parts = {role: _named(role, getattr(work, role)) for role in ("registrator", "translator", "strategy")}
    device = device_of(work.device)
    sized = _published if work.published else configured
    roles = {role: sized(parts[role]) for role in ("registrator", "translator")}
    info = pair_info(pack, protocol)
    teacher = ConstantTeacher(ComponentConfig(), info)
    ctx = RunContext(info, device, roles, 0, precision=work.precision, given_teacher=teacher)
    counted: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        deployed = ctx.registrator() if parts["strategy"] is None else None
        if parts["strategy"] is not None:
            described = sized(parts["strategy"])
            strategy = described.component.load()(described.config)
            stages = planned_stages(strategy, ctx)
            deployed = strategy.build(ctx)
            sampler = PairSampler(pack, protocol, seed=0, device=device, labels=strategy.supervision == "homography")
            for stage in stages:
                if stage.name.startswith(work.only):
                    short = replace(_planted(stage, work.plant), steps=STEPS, batch=min(stage.batch, work.batch))
                    count = _counted if work.published else _trained
                    counted[stage.name] = count(short, ctx, sampler, Path(folder) / stage.name)
            if work.judged and not work.published:
                Health(Path(folder), sampler)(deployed, "registrator", stages[-1], 1)
        if work.judged and not work.published:
            counted["judged"] = _judged(ctx, deployed, TestPairs(pack, test_manifest(pack, PROTOCOL), PROTOCOL, device))
    return {"stages": counted, "seconds": round(time.monotonic() - started, 1)}


@cache
def large_pack() -> Pack:
    """Two scenes of 192 px, from which pairs of published size are cut."""
    dataset = Synthetic(SyntheticConfig(train=2, test=2, size=192))
    return prepare(dataset, "synthetic", "large", Path(_FOLDER.name) / "large.h5")


def _published(component: Component | None) -> Any:
    """A component at its published settings."""
    return None if component is None else ConfiguredComponent(component, build_config(component, {}))


def _counted(stage: Stage, ctx: RunContext, sampler: PairSampler, folder: Path) -> dict[str, Any]:
    """What the second step of a stage does."""
    step = Trainer([stage], ctx.modules, sampler, seed=0, folder=folder).timed_steps(stage)
    step()
    RECORDED.clear()
    step()
    return RECORDED.facts()


def _trained(stage: Stage, ctx: RunContext, sampler: PairSampler, folder: Path) -> dict[str, Any]:
    """Train a stage, stop it by a signal, resume it from its checkpoint; what one later step does."""
    folder.mkdir()
    measured: dict[str, Any] = {}
    on_gpu = sampler.device.type == "cuda"

    def begins(step: int) -> None:
        if step + 1 == STOPPED_AFTER and not measured:
            signal.raise_signal(signal.SIGTERM)
        if step == MEASURED:
            RECORDED.clear()
            if on_gpu:
                torch.cuda.set_sync_debug_mode("error")  # on a real GPU, a wait raises
        if step == MEASURED + 1:
            measured.update(RECORDED.facts())
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")

    watched: Any = _Watched(sampler, begins)
    try:
        Trainer([stage], ctx.modules, watched, seed=0, folder=folder).fit()
    except InterruptedRun:
        Trainer([stage], ctx.modules, watched, seed=0, folder=folder).fit()
    else:
        raise AssertionError(f"stage {stage.name} did not stop at the signal")
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return measured | {"logged": {k: v for k, v in entries[-1].items() if isinstance(v, float)}}


def _judged(ctx: RunContext, deployed: Any, test_pairs: TestPairs) -> dict[str, Any]:
    RECORDED.clear()
    pairs = Evaluator(test_pairs).pairs(deployed.eval())
    facts = RECORDED.facts()
    assess(test_pairs, deployed, pairs)
    if "translator" in ctx.modules:
        assess_translation(test_pairs, ctx.translator())
    return facts


def _named(role: str, name: str | None) -> Any:
    return None if name is None else registry().get(role, name)


def _planted(stage: Stage, fault: str | None) -> Stage:
    """The stage with a fault in its first loss, for tests of the simulated device itself."""
    if fault is None:
        return stage
    objective = stage.objectives[0]

    def loss(batch: Batch, shared: Any) -> Any:
        losses = dict(objective.loss(batch, shared))
        if fault == "mixed":
            losses["loss"] = losses["loss"] + torch.ones(3).mul(losses["loss"].detach().expand(3)).sum()
        elif fault == "item":
            losses["loss"] = losses["loss"] * (1.0 if losses["loss"].item() > 0 else 2.0)
        elif fault == "copy":
            losses["loss"] = losses["loss"] + 0 * torch.ones(3).to(losses["loss"].device).sum()
        elif fault == "list":
            losses["loss"] = losses["loss"] + 0 * batch.pair.source[[0]].sum()
        elif fault == "generator":
            torch.rand(3, device=losses["loss"].device, generator=batch.generator)
        return losses

    return replace(stage, objectives=(replace(objective, loss=loss), *stage.objectives[1:]))
