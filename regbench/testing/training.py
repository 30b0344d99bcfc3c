"""Training in miniature: a small data set, the one trainer, two steps of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from regbench.api.stage import Stage
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.sampler import PairSampler
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench.runs.context import RunContext
from regbench.testing.host_reads import HostReads, watched
from regbench.testing.parts import PROTOCOL
from regbench.training.trainer import Trainer

_FOLDER = TemporaryDirectory(prefix="regbench-suite-")  # deleted when the process ends


@cache
def tiny_pack() -> Pack:
    """Four training and two test scenes of 128 px, optical and SAR."""
    dataset = Synthetic(SyntheticConfig(train=4, test=2, size=128))
    return prepare(dataset, "synthetic", "suite", Path(_FOLDER.name) / "tiny.h5")


@dataclass(frozen=True)
class Changes:
    """What training one stage did to the modules of its run.

    Attributes:
        stage: the stage as the strategy describes it.
        parameters: names ``module/key`` of parameters whose bits changed.
        buffers: the same for buffers, such as running statistics.
        host_reads: where a loss read a value back from the device after the first step.
    """

    stage: Stage
    parameters: frozenset[str]
    buffers: frozenset[str]
    host_reads: tuple[str, ...] = ()


def train_stage(stage: Stage, context: RunContext, *, labels: bool, steps: int = 2) -> Changes:
    """Train ``steps`` steps of a stage with the real trainer on :func:`tiny_pack`.

    Weights are compared with those after ``begin`` and ``setup``, which may load what an earlier stage learned.
    """
    before: dict[str, Tensor] = {}

    def setup() -> None:
        if stage.setup is not None:
            stage.setup()
        before.update(snapshot(context.modules))

    sampler = PairSampler(tiny_pack(), PROTOCOL, seed=0, labels=labels)
    reads = HostReads()
    short = replace(watched(stage, reads), steps=steps, batch=min(stage.batch, 4), setup=setup)
    with TemporaryDirectory(dir=_FOLDER.name) as folder:
        Trainer([short], context.modules, sampler, seed=0, folder=Path(folder)).fit()
    after = snapshot(context.modules)
    changed = {key for key, value in after.items() if not _same(value, before.get(key))}
    trainable = {f"{name}/{key}" for name, m in context.modules.items() for key, _ in m.named_parameters()}
    return Changes(stage, frozenset(changed & trainable), frozenset(changed - trainable), tuple(reads.places))


def check_changes(change: Changes) -> None:
    """Assert that exactly the modules a stage updates changed; other modules may change buffers in train mode."""
    stage = change.stage
    named = set(stage.updated)
    wrong = {key for key in change.parameters if not _within(key, named)}
    assert not wrong, f"stage {stage.name} changed what it does not update: {sorted(wrong)[:5]}"
    untouched = {name for name in named if not any(_within(key, {name}) for key in change.parameters)}
    assert not untouched, f"stage {stage.name} leaves modules it updates as they were: {sorted(untouched)}"
    training = named if stage.train is None else set(stage.train)
    drifted = {key for key in change.buffers if not _within(key, training | named)}
    assert not drifted, f"stage {stage.name} changed buffers of frozen modules: {sorted(drifted)[:5]}"


def check_host_reads(change: Changes) -> None:
    """Assert that no loss of the stage waits for the device."""
    reads = sorted(set(change.host_reads))
    assert not reads, f"stage {change.stage.name} waits for the device in every step: {'; '.join(reads[:3])}"


def _within(key: str, names: set[str]) -> bool:
    """Whether ``role/part.key`` belongs to one of the modules ``role`` or ``role.part``."""
    path = key.replace("/", ".", 1)
    return any(path.startswith(f"{name}.") for name in names)


def snapshot(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """A copy of every parameter and buffer, by ``module/key``."""
    return {f"{name}/{k}": v.detach().clone() for name, m in modules.items() for k, v in m.state_dict().items()}


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and torch.equal(a, b)
