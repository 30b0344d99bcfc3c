"""Supervised training: the reference every unsupervised strategy is compared with.

With ``--pairing frozen`` (the default) each training pair keeps its offset, as in CoLReg's Table 2; with ``--pairing
online`` every visit draws a new one, which are the rows marked * of its Table 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regbench import Batch, Context, Registrator, Shared, Stage, TrainingStrategy
from regbench_strategies.blocks.recipe import RegistratorRecipe


class Supervised(TrainingStrategy):
    """One stage: the registrator's own loss against the true displacement of each pair."""

    Config = RegistratorRecipe
    config: RegistratorRecipe
    supervision = "homography"

    def build(self, ctx: Context) -> Registrator:
        """The registrator alone."""
        self.registrator = ctx.registrator("registrator")
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """A single stage on ``pair``."""
        stage = Stage(
            name="supervised",
            steps=self.config.steps,
            batch=self.config.batch,
            views=("pair",),
            objectives=(self.config.objective(ctx, self._loss),),
            modules={"registrator": self.registrator},
            deploys={"registrator": self.registrator},
        )
        return (stage,)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        pair = batch.pair
        assert pair.displacement is not None  # granted by ``supervision``
        registration = self.registrator(pair.source, pair.target)
        error = (registration.displacement.detach() - pair.displacement).norm(dim=-1).mean()
        return {"loss": self.registrator.loss(registration, pair.displacement), "ace": error}
