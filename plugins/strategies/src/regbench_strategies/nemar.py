"""NeMAR: translation and registration learned jointly, by one adversarial loss (Arar et al., CVPR 2020).

The source is brought to the target by both orders of the two networks: warped, then translated (TR); translated, then
warped by the same estimate (RT). Both outcomes should equal the target, and a discriminator that sees the source beside
them should not tell them from it. In each step the discriminator learns first, then translator and registrator
together. Nothing but the two orders keeps the translator from moving content itself.

The paper's networks regress an affine map or a dense field; in this form the run's registrator gives a homography,
which needs no smoothness term, and the run's translator renders. The schedule is the published 100 + 100 epochs,
counted in 1,334 images an epoch as the translators here count theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

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
from regbench.ops import PatchGAN, check_patchgan
from regbench.schedules import constant_then_linear


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
    layers: int = Field(3, ge=1, description="its halvings")

    presets = {
        "quick": {"steps": 1000, "batch": 4, "lr": 5e-4, "clip": 1.0, "width": 16},
        "smoke": {"steps": 20, "batch": 4, "width": 8, "layers": 2, "clip": 1.0},
        "tiny": {"steps": 2, "batch": 2, "width": 4, "layers": 2, "clip": 1.0},
    }


class NeMAR(TrainingStrategy):
    """One stage, two objectives: the discriminator, then translator and registrator."""

    Config = NeMARConfig
    config: NeMARConfig
    supervision = "none"

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``nemar`` alone.

        Raises:
            UsageError: the patch is too small for the discriminator.
        """
        c = self.config
        self.translator, self.registrator = ctx.translator("translator"), ctx.registrator("registrator")
        try:
            check_patchgan(ctx.info.patch, c.layers, "strategy.layers")
        except ValueError as error:
            raise UsageError(f"nemar: {error}") from None
        self.discriminator: nn.Module = ctx.module(
            "discriminator", lambda: PatchGAN(6, c.width, c.layers, antialias=False)
        )
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
                objective(("discriminator",), self._discriminator_loss),
                objective(("translator", "registrator"), self._joint_loss, clip=c.clip),
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

    def deployed(self) -> Registrator:
        """The registrator alone: it estimates from the images as they are."""
        return self.registrator

    def _both_orders(self, batch: Batch) -> Shared:
        """TR and RT, ``(B, 3, H, W)`` in [0, 1], black where nothing of the source is seen."""
        source, target = batch.pair.source, batch.pair.target
        found = self.registrator(source, target)
        h = geometry.homography_from_displacement(found.displacement, found.size)
        translate = partial(self.translator.translate, target=target, generator=batch.generator)
        return {"tr": translate(geometry.warp(source, h)), "rt": geometry.warp(translate(source), h)}

    def _verdict(self, batch: Batch, image: Tensor) -> Tensor:
        return self.discriminator(2 * batch.pair.source - 1, 2 * image - 1)

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        true = real(self._verdict(batch, batch.pair.target))
        false = sum(fake(self._verdict(batch, shared[order].detach())) for order in ("tr", "rt"))
        return {"loss": 0.5 * (true + false)}

    def _joint_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c, target = self.config, batch.pair.target
        l1 = {order: 2 * (shared[order] - target).abs().mean() for order in ("tr", "rt")}
        adversarial = sum(real(self._verdict(batch, shared[order])) for order in ("tr", "rt"))
        loss = c.reconstruction * (l1["tr"] + l1["rt"]) + c.adversarial * adversarial
        return {"loss": loss, **l1, "gan": adversarial}


def real(logits: Tensor) -> Tensor:
    """Cross-entropy of taking all patches for real."""
    return softplus(-logits).mean()


def fake(logits: Tensor) -> Tensor:
    """Cross-entropy of taking all patches for fakes."""
    return softplus(logits).mean()
