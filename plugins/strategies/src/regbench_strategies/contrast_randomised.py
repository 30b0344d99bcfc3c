"""A control without a translator: self-pairs of both modalities, both images of a pair under random contrasts.

Each image is registered to a random warp of itself, so the label is known without any. Either image is first rendered
anew, independently of the other, by a random grey-value curve (not monotone in general, so also inverted), blur, a gain
field, speckle and noise. A network that registers these has learned to do without common grey values; no pair of
modalities is ever seen.

The idea is SynthMorph's (Hoffmann et al., IEEE TMI 2022): train on random contrasts, so that the real ones are among
them. SynthMorph draws label maps as well, out of noise, and gives each label of a map a random grey value in either
image; it needs no image at all. Here the images are those of the data set, and only their contrast is random. The
curves, the order of the steps and all strengths are ours; no paper reports them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    PairInfo,
    Registration,
    Registrator,
    Shared,
    Stage,
    TrainingStrategy,
)
from regbench_strategies.blocks.contrast import Contrast
from regbench_strategies.blocks.recipe import RegistratorRecipe


class ContrastRandomisedConfig(Contrast, RegistratorRecipe):
    """The recipe of the registrator, and how contrasts are drawn."""


class GreyFirst(Registrator):
    """A registrator that sees the mean of the channels: what is deployed where it was trained on grey images."""

    def __init__(self, registrator: Registrator, info: PairInfo) -> None:
        super().__init__(ComponentConfig(), info)
        self.registrator = registrator

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Register both images as grey ones; shapes are those of :class:`regbench.Registrator`."""
        return self.registrator(*(x.mean(1, keepdim=True).expand_as(x) for x in (source, target)))


class ContrastRandomised(TrainingStrategy):
    """One stage: half of each batch self-pairs of the source modality, half of the target modality."""

    Config = ContrastRandomisedConfig
    config: ContrastRandomisedConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator, which sees grey images where it learns from grey ones."""
        self.registrator = ctx.registrator("registrator")
        grey = self.config.channels == "grey"
        self.whole = GreyFirst(self.registrator, ctx.info) if grey else self.registrator
        return self.whole

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """A single stage on ``self_source`` and ``self_target``, ``batch / 2`` images of each."""
        stage = Stage(
            name="contrast-randomised",
            steps=self.config.steps,
            batch=self.config.batch // 2,
            views=("self_source", "self_target"),
            objectives=(self.config.objective(ctx, self._loss),),
            modules={"registrator": self.registrator},
            deploys={"registrator": self.whole},
        )
        return (stage,)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        first, second = batch.self_source, batch.self_target
        warped = self.config.drawn(torch.cat([first.warped, second.warped]), batch.generator)
        image = self.config.drawn(torch.cat([first.image, second.image]), batch.generator)
        displacement = torch.cat([first.displacement, second.displacement])
        registration = self.registrator(warped, image)
        error = (registration.displacement.detach() - displacement).norm(dim=-1).mean()
        return {"loss": self.registrator.loss(registration, displacement), "ace": error}
