"""SSHNet-D: a fresh student learns the last estimate of a frozen teacher."""

from __future__ import annotations

import pytest
import torch

from regbench import PairInfo, Registration, Registrator
from regbench.api.config import ComponentConfig
from regbench.api.types import Batch, Pair
from regbench.errors import UsageError
from regbench.plugins.registry import registry
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.settings import build_config
from regbench.testing.training import check_changes, train_stage
from regbench_strategies.sshnet_d import SSHNetD, SSHNetDConfig

INFO = PairInfo(64, 16, 3, 1)


class Teacher(Registrator):
    """Two iterations, of which only the last counts; with a weight and a dropout that must stay as they are."""

    def __init__(self) -> None:
        super().__init__(ComponentConfig(), INFO)
        self.weight = torch.nn.Parameter(torch.tensor(4.0))
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, source, target):
        last = self.dropout(self.weight.expand(len(source), 4, 2))
        return Registration(torch.stack([100 + last, last]), (64, 64))


def context(teacher: Registrator | None) -> RunContext:
    component = registry().get("registrator", "ihn1")
    chosen = ConfiguredComponent(component, build_config(component, {"preset": "tiny"}))
    return RunContext(INFO, torch.device("cpu"), {"registrator": chosen}, seed=0, given_teacher=teacher)


def planned(ctx: RunContext) -> tuple[SSHNetD, tuple]:
    made = SSHNetD(SSHNetDConfig(**SSHNetDConfig.presets["tiny"]))
    made.deployed = made.build(ctx)
    return made, made.stages(ctx)


def test_a_teacher_is_needed():
    with pytest.raises(UsageError, match="add --teacher RUN"):
        planned(context(None))


def test_published_defaults():
    c = SSHNetDConfig()
    assert (c.steps, c.batch, c.lr, c.weight_decay, c.clip, c.displacement_loss) == (
        120_000, 16, 4e-4, 1e-5, 1.0, "sequence",
    )  # fmt: skip


@torch.no_grad()
def test_the_loss_is_the_sequence_loss_against_the_teachers_last_estimate():
    made, _ = planned(context(Teacher()))
    batch = Batch(2, 0, torch.Generator())
    batch.views["pair"] = Pair(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    found = made._loss(batch, {})
    estimates = made.student(batch.pair.source, batch.pair.target).displacements
    assert len(estimates) > 1
    expected = sum(0.8 ** (len(estimates) - 1 - i) * (e - 4.0).abs().mean() for i, e in enumerate(estimates))
    torch.testing.assert_close(found["loss"], expected)
    torch.testing.assert_close(found["estimate"], torch.tensor(32.0).sqrt())


def test_the_student_alone_learns_and_the_teacher_is_no_part_of_the_run():
    teacher = Teacher().train()
    ctx = context(teacher)
    made, (stage,) = planned(ctx)
    assert list(ctx.modules) == ["registrator"]
    assert made.deployed is ctx.modules["registrator"]
    check_changes(train_stage(stage, ctx, labels=False))
    assert float(teacher.weight) == 4.0
    assert not teacher.training
    assert not teacher.weight.requires_grad
