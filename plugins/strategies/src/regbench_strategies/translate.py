"""Translate, then register: a translator is trained alone and put before a registrator (the papers' Fig. 1(b)).

The registrator is taken as it is (``sift``), or trained on self-pairs of the target modality, which the translation is
meant to look like.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regbench import Batch, Context, Registrator, Shared, Stage, TrainingStrategy, UsageError
from regbench_strategies.blocks.recipe import RegistratorRecipe
from regbench_strategies.blocks.translate_first import TranslateFirst


class Translate(TrainingStrategy):
    """The translator's own stages, then, for a registrator that can be trained, self-pairs of the target modality."""

    Config = RegistratorRecipe
    config: RegistratorRecipe
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """Registrator ∘ translator."""
        self.translator, self.registrator = ctx.translator("translator"), ctx.registrator("registrator")
        return TranslateFirst(self.translator, self.registrator, ctx.info)

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``translator.unpaired_stages``, and ``registrator`` where there is something to train."""
        stages = self.translator.unpaired_stages(ctx)
        if not any(p.requires_grad for p in self.registrator.parameters()):
            if not stages:
                raise UsageError(
                    "strategy 'translate': neither the translator nor the registrator learns anything; name a "
                    "registrator that is trained, such as mcnet"
                )
            return stages
        registrator = Stage(
            name="registrator",
            steps=self.config.steps,
            batch=self.config.batch,
            views=("self_target",),
            objectives=(self.config.objective(ctx, self._loss),),
            modules={"registrator": self.registrator},
        )
        return (*stages, registrator)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        own = batch.self_target
        registration = self.registrator(own.warped, own.image)
        return {"loss": self.registrator.loss(registration, own.displacement)}
