"""The no-translator control: a registrator trained on synthetic self-pairs of both modalities.

Each image is registered to a random warp of itself, so the label is known without any; no pair of modalities is ever
seen. What a strategy with a translator gains over this is what the translator gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regbench import Batch, Context, Registrator, Shared, Stage, TrainingStrategy
from regbench_strategies.blocks.recipe import RegistratorRecipe


class SelfSupervised(TrainingStrategy):
    """One stage: half of each batch self-pairs of the source modality, half of the target modality."""

    Config = RegistratorRecipe
    config: RegistratorRecipe
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator alone."""
        self.registrator = ctx.registrator("registrator")
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """A single stage on ``self_source`` and ``self_target``, ``batch / 2`` images of each."""
        stage = Stage(
            name="self-supervised",
            steps=self.config.steps,
            batch=self.config.batch // 2,
            views=("self_source", "self_target"),
            objectives=(self.config.objective(ctx, self._loss),),
            modules={"registrator": self.registrator},
            deploys={"registrator": self.registrator},
        )
        return (stage,)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        first, second = batch.self_source, batch.self_target
        warped, image = torch.cat([first.warped, second.warped]), torch.cat([first.image, second.image])
        displacement = torch.cat([first.displacement, second.displacement])
        registration = self.registrator(warped, image)
        error = (registration.displacement.detach() - displacement).norm(dim=-1).mean()
        return {"loss": self.registrator.loss(registration, displacement), "ace": error}
