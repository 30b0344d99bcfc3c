"""NeMAR: translation and registration learned jointly, by one adversarial loss (Arar et al., CVPR 2020).

The source is brought to the target by the two networks in both orders: warped, then translated (TR); translated, then
warped by the same estimate (RT). Both results should equal the target, and a discriminator that sees the source beside
them should not tell them from the target. In each step the discriminator learns first, then translator and registrator
together. Nothing but the two orders keeps the translator from moving content itself.

The paper's networks regress an affine map or a dense field; here the run's registrator gives a homography, which needs
no smoothness term, and the run's translator renders. The schedule is the published 100 + 100 epochs,
counted in 1,334 images an epoch as the translators here count theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Objective,
    Registrator,
    Shared,
    Stage,
    Steps,
    TrainingStrategy,
    UsageError,
    geometry,
)
from regbench.ops import PatchGAN, check_patchgan, fake_loss, generator_loss, real_loss
from regbench.schedules import constant_then_linear
from regbench_strategies.presets import NEMAR_PRESETS


class NeMARConfig(ComponentConfig):
    """Defaults are the released training."""

    steps: Steps = Field(266_800, ge=1, description="200 epochs of 1334 pairs")
    decay: float = Field(0.5, ge=0, le=1, description="share of the steps, the last, in which the rate falls to zero")
    batch: int = Field(1, ge=1)
    lr: float = Field(2e-4, gt=0, description="rate of all three Adam (betas 0.5, 0.999)")
    clip: float | None = Field(None, gt=0, description="largest gradient norm of translator and registrator")
    reconstruction: float = Field(100.0, ge=0, description="weight of each L1 term, of images in [-1, 1]")
    adversarial: float = Field(1.0, ge=0, description="weight of each adversarial term")
    width: int = Field(64, ge=1, description="channels of the discriminator")
    layers: int = Field(3, ge=1, description="halvings of the discriminator")

    presets = NEMAR_PRESETS


class NeMAR(TrainingStrategy):
    """One stage, two objectives: the discriminator, then translator and registrator."""

    Config = NeMARConfig
    config: NeMARConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator alone: it estimates from the images as they are.

        Raises:
            UsageError: the patch is too small for the discriminator.
        """
        c = self.config
        self.translator, self.registrator = ctx.translator("translator"), ctx.registrator("registrator")
        try:
            check_patchgan(ctx.info.patch, c.layers, "strategy.layers")
        except ValueError as error:
            raise UsageError(f"nemar: {error}") from None
        self.discriminator = ctx.module("discriminator", lambda: PatchGAN(6, c.width, c.layers, antialias=False))
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``nemar`` alone."""
        c = self.config
        objective = partial(
            Objective,
            optimiser=partial(torch.optim.Adam, lr=c.lr, betas=(0.5, 0.999)),
            lr=constant_then_linear(c.lr, c.steps, round(c.decay * c.steps)),
            precision=ctx.precision,
        )
        stage = Stage(
            name="nemar",
            steps=c.steps,
            batch=c.batch,
            views=("pair",),
            objectives=(
                objective(updates=("discriminator",), loss=self._discriminator_loss),
                objective(updates=("translator", "registrator"), loss=self._joint_loss, clip=c.clip),
            ),
            modules={
                "translator": self.translator,
                "registrator": self.registrator,
                "discriminator": self.discriminator,
            },
            shared=self._both_orders,
            deploys={"registrator": self.registrator},
        )
        return (stage,)

    def _both_orders(self, batch: Batch) -> Shared:
        """TR and RT, ``(B, 3, H, W)`` in [0, 1], black where nothing of the source is seen."""
        source, target = batch.pair.source, batch.pair.target
        registration = self.registrator(source, target)
        h = geometry.homography_from_displacement(registration.displacement, registration.size)
        translate = partial(self.translator.translate, target=target, generator=batch.generator)
        return {"tr": translate(geometry.warp(source, h)), "rt": geometry.warp(translate(source), h)}

    def _verdict(self, batch: Batch, image: Tensor) -> Tensor:
        """What the discriminator says of an image beside the source, before any sigmoid."""
        return self.discriminator(2 * batch.pair.source - 1, 2 * image - 1)

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """Cross-entropy of the target as real and of both orders as fake."""
        real = real_loss(self._verdict(batch, batch.pair.target), "ns")
        fake = sum(fake_loss(self._verdict(batch, shared[order].detach()), "ns") for order in ("tr", "rt"))
        return {"loss": 0.5 * (real + fake)}

    def _joint_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """L1 distance of both orders to the target, and the cross-entropy of both as real."""
        c, target = self.config, batch.pair.target
        l1 = {order: 2 * (shared[order] - target).abs().mean() for order in ("tr", "rt")}
        adversarial = sum(generator_loss(self._verdict(batch, shared[order]), "ns") for order in ("tr", "rt"))
        loss = c.reconstruction * (l1["tr"] + l1["rt"]) + c.adversarial * adversarial
        return {"loss": loss, **l1, "gan": adversarial}
