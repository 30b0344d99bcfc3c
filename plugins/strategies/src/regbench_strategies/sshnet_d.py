"""SSHNet-D: what a trained SSHNet knows, distilled into a registrator without a translator (Yu et al., CVPR 2025).

The student starts with new weights and sees the pair as it is; its label is the estimate of the frozen teacher for the
same pair. Schedule and loss are those of SSHNet; no jitter, no truth, and no label is left out. The teacher is any
finished run, named by ``--teacher``: its supervision and its name become part of this one's result.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from regbench import Batch, Context, Registrator, Shared, Stage, TrainingStrategy, geometry
from regbench_strategies.blocks.displacement_loss import DisplacementLoss, displacement_loss
from regbench_strategies.blocks.probes import spread_of
from regbench_strategies.blocks.recipe import RegistratorRecipe
from regbench_strategies.presets import SSHNET_D_PRESETS


class SSHNetDConfig(RegistratorRecipe):
    """Defaults are the published code."""

    displacement_loss: DisplacementLoss = Field("sequence", description="the published one, or the registrator's")

    presets = SSHNET_D_PRESETS


class SSHNetD(TrainingStrategy):
    """One stage on real pairs.

    Raises:
        UsageError: no finished run was named.
    """

    Config = SSHNetDConfig
    config: SSHNetDConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The student."""
        self.student = ctx.registrator("registrator")
        return self.student

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``sshnet-d`` alone."""
        c = self.config
        self.teacher = ctx.teacher()
        stage = Stage(
            name="sshnet-d",
            steps=c.steps,
            batch=c.batch,
            views=("pair",),
            objectives=(c.objective(ctx, self._loss),),
            modules={"registrator": self.student},
            deploys={"registrator": self.student},
        )
        return (stage,)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        pair = batch.pair
        with torch.no_grad():
            label = self.teacher.register(pair.source, pair.target).displacement
        registration = self.student(pair.source, pair.target)
        loss = displacement_loss(self.config.displacement_loss, self.student, registration, label)
        apart = geometry.corner_error(registration.displacement.detach(), label).mean()
        return {"loss": loss, "from_teacher": apart} | spread_of(label)
