"""Runs as a short run needs them: planned, entered, and stepped by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regbench.api.stage import Stage
from regbench.data.sampler import PairSampler
from regbench.data.test_pairs import TestPairs
from regbench.runs.plan import Plan, make_plan
from regbench.runs.request import Request
from regbench.training.trainer import Trainer

Sets = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Size:
    """How large everything is: as published, or for a rehearsal."""

    budget: str
    dataset: Mapping[str, Any]
    pairs: int
    """Test pairs that are looked at, the first ones."""


PUBLISHED = Size("full", {}, 512)
SMALL = Size("smoke", {}, 256)
"""Networks that a CPU runs within seconds."""
REHEARSAL = Size("smoke", {"train": 6, "test": 6, "size": 112}, 12)


@dataclass
class Entered:
    """A plan with its sampler and trainer."""

    plan: Plan
    sampler: PairSampler
    trainer: Trainer
    pairs: int

    def stage(self, name: str) -> Stage:
        """One of its stages."""
        return next(stage for stage in self.plan.stages if stage.name == name)

    def steps(self, stage: Stage, start: int = 0) -> Callable[[], dict[str, Tensor]]:
        """One step a call; see :meth:`regbench.training.trainer.Trainer.timed_steps`."""
        return self.trainer.timed_steps(stage, start)

    def test_pairs(self) -> TestPairs:
        """The first of its frozen test pairs."""
        plan, whole = self.plan, self.plan.manifest
        few = replace(whole, draws=whole.draws[slice(0, self.pairs)], image=whole.image[: self.pairs])
        return TestPairs(plan.pack, few, plan.protocol, plan.context.device)


def enter(
    strategy: str | None,
    registrator: str,
    translator: str | None,
    size: Size,
    device: str,
    folder: Path,
    precision: str = "fp32",
    sets: Sets | None = None,
) -> Entered:
    """Plan a run; nothing of it is written but the pack, where it is missing."""
    request = Request(
        registrator=registrator,
        strategy=strategy,
        translator=translator,
        budget=size.budget,
        pairing="online",
        precision=precision,
        device=device,
        sets={"dataset": size.dataset, **(sets or {})},
        out=folder,
    )
    plan = make_plan(request)
    sampler = PairSampler(plan.pack, plan.protocol, seed=0, device=plan.context.device, labels=plan.labels)
    trainer = Trainer(plan.stages, plan.context.modules, sampler, seed=0, folder=folder)
    return Entered(plan, sampler, trainer, size.pairs)


def finished(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
