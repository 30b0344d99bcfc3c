"""DFMIR: translation and registration learned jointly by contrast, without a discriminator (arXiv 2204.13656).

The translator's own encoder compares patches (PatchNCE) three times. A translated source keeps the patches of the
source, and a translated target those of the target: nothing else keeps content in place. The source itself, warped by
the registrator, should have the patches of the target at the same places. In addition, the warped translation should
equal the target, and the translated target, pixel by pixel. Translator, patch sampler and registrator learn together in
one step. Keys pass no gradient on; everything else does, so that the registrator's losses train the translator too.

The paper's registrator is a VoxelMorph network whose dense field is kept smooth by a loss; here the run's registrator
gives a homography, which needs no such loss. The three Adam of equal settings are one Adam over all parameters, since
Adam treats each parameter by itself. Translator and registrator have the run's initial weights, the sampler the
published ones. The schedule is the published 150 + 150 epochs, counted in 1,334 images an epoch as the translators here
count theirs.

The translator renders targets as if they were sources: where sources are grey it may see one channel only of a coloured
target.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Objective,
    PairInfo,
    Registrator,
    Shared,
    Stage,
    Steps,
    TrainingStrategy,
    Translator,
    geometry,
    whole_batch,
)
from regbench.ops import PatchSampler
from regbench.schedules import constant_then_linear
from regbench_strategies.presets import DFMIR_PRESETS


class DFMIRConfig(ComponentConfig):
    """Defaults are the released training."""

    steps: Steps = Field(400_200, ge=1, description="300 epochs of 1334 pairs")
    decay: float = Field(0.5, ge=0, le=1, description="share of the steps, the last, in which the rate falls to zero")
    batch: int = Field(1, ge=1)
    lr: float = Field(2e-4, gt=0, description="rate of Adam (betas 0.5, 0.999)")
    clip: float | None = Field(None, gt=0, description="largest gradient norm of all networks together")
    lambda_nce: float = Field(0.25, ge=0, description="weight of every PatchNCE term")
    lambda_local: float = Field(0.25, ge=0, description="weight of the warped source's term, in units of lambda_nce")
    lambda_l1: float = Field(1.0, ge=0, description="weight of each L1 term, of images in [-1, 1]")
    background: float = Field(-0.95, ge=-1, le=1, description="L1 leaves out where neither image is brighter, [-1, 1]")
    outside: Literal["grey", "ignored"] = Field(
        "grey", description="beyond the border a warped image is mid-grey, as released, or L1 leaves it out"
    )
    codes: int = Field(256, ge=1, description="length of a patch's code")
    patches: int = Field(256, ge=2, description="places compared in each layer")
    temperature: float = Field(0.07, gt=0, description="temperature of PatchNCE")

    presets = DFMIR_PRESETS


class DFMIR(TrainingStrategy):
    """One stage, one objective over translator, patch sampler and registrator."""

    Config = DFMIRConfig
    config: DFMIRConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator alone: it estimates from the images as they are."""
        c = self.config
        self.translator, self.registrator = ctx.translator("translator"), ctx.registrator("registrator")
        sampler = ctx.module("sampler", lambda: patch_sampler(self.translator, ctx.info, c.codes, c.patches))
        assert isinstance(sampler, PatchSampler)
        self.sampler = sampler
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``dfmir`` alone."""
        c = self.config
        modules = {"translator": self.translator, "sampler": self.sampler, "registrator": self.registrator}
        objective = Objective(
            updates=tuple(modules),
            loss=self._loss,
            optimiser=partial(torch.optim.Adam, lr=c.lr, betas=(0.5, 0.999)),
            lr=constant_then_linear(c.lr, c.steps, round(c.decay * c.steps)),
            clip=c.clip,
            precision=ctx.precision,
        )
        stage = Stage(
            name="dfmir",
            steps=c.steps,
            batch=c.batch,
            views=("pair",),
            objectives=(objective,),
            modules=modules,
            deploys={"registrator": self.registrator},
        )
        return (stage,)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c, source, target = self.config, batch.pair.source, batch.pair.target
        registration = self.registrator(source, target)
        h = geometry.homography_from_displacement(registration.displacement, registration.size)
        both, targets = torch.cat([source, target]), torch.cat([target, target])
        fake, identity = self.translator.translate(both, targets, generator=batch.generator).chunk(2)
        warped, registered = _warp(source, h), _warp(fake, h)
        weight = torch.ones_like(source[:, :1])
        if c.outside == "ignored":
            weight = geometry.inside(geometry.invert(h), registration.size, registration.size)
        losses = {
            "nce": self._nce(batch, source, fake),
            "nce_identity": self._nce(batch, target, identity),
            "nce_local": self._nce(batch, target, warped),
            "l1": self._l1(registered, target, weight),
            "l1_identity": self._l1(registered, identity, weight),
        }
        nce = 0.5 * (losses["nce"] + losses["nce_identity"]) + c.lambda_local * losses["nce_local"]
        return {"loss": c.lambda_nce * nce + c.lambda_l1 * (losses["l1"] + losses["l1_identity"]), **losses}

    def _nce(self, batch: Batch, kept: Tensor, image: Tensor) -> Tensor:
        """PatchNCE of the patches of ``image`` against those of ``kept``, mean over layers."""
        with torch.no_grad():
            keys = self.translator.features(kept)
        queries = self.translator.features(image)
        return self.sampler.contrast(queries, keys, batch.generator, self.config.temperature)

    def _l1(self, a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        """Mean distance of two images, in units of [-1, 1]; values that are background in both do not count."""
        least = (self.config.background + 1) / 2
        counted = ((a > least) | (b > least)).to(weight.dtype) * weight
        return 2 * whole_batch.weighted_mean((a - b).abs(), counted)


def patch_sampler(translator: Translator, info: PairInfo, codes: int, patches: int) -> PatchSampler:
    """A sampler for the maps a translator offers, with CUT's initial weights (Xavier with gain 0.02, no bias).

    Args:
        translator: with ``features``; their channels are read off a copy of it, so that it stays as it is.
        info: facts about the pairs.
        codes: length of a code.
        patches: places compared in each map.
    """
    with torch.no_grad():
        maps = deepcopy(translator).cpu().eval().features(torch.zeros(1, 3, info.patch, info.patch))
    sampler = PatchSampler([m.shape[1] for m in maps], codes, patches)
    for module in sampler.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, gain=0.02)
            nn.init.zeros_(module.bias)
    return sampler


def _warp(image: Tensor, h: Tensor) -> Tensor:
    """``image`` in [0, 1] warped onto the target; beyond its border mid-grey, the zero of the released range."""
    return geometry.warp(image - 0.5, h) + 0.5
