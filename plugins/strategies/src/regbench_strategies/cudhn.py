"""CUDHN: content-aware unsupervised deep homography estimation (Zhang et al., ECCV 2020).

A triplet loss on features the network learns itself: at every pixel the source's feature should be nearer, by a margin,
to the feature of the target warped onto it than to that of the unwarped target. Without the second distance the
features would become constant. There are two stages: first every pixel counts alike, then masks that the network learns
weigh them.

``form = "oneline"`` is the loss of the released code, a hinge in one direction. ``"doubleline"`` is the paper's:
both directions without a hinge, less lambda times the distance before the warp, plus mu times the squared distance of
the two estimates' product from the unit matrix.

The paper trains the network that regbench calls ``cudhn-net``, which has these features and masks. A registrator with
features but no masks can be trained as well; every pixel then counts alike in both stages, and no paper has done it.

Readings. Homographies run from pixels of the source (the released second image) to those of the target, so the target
is warped. The released code crops its patch from a larger warped frame; here nothing is known beyond the patch, and a
pixel without a counterpart has no weight. The weights of one in the first stage concern the loss alone: the masks at
the network's entrance stay as they are. Features of several channels are compared by the sum over channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, relu

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
    geometry,
    whole_batch,
)
from regbench.schedules import step_decay
from regbench_strategies.presets import CUDHN_PRESETS


class CUDHNConfig(ComponentConfig):
    """Defaults are the released training: 80,000 pairs in batches of 32, 2 epochs alike and 28 by masks."""

    steps: Steps = Field(5_000, ge=1, description="steps of the first stage, in which every pixel counts alike")
    mask_steps: Steps = Field(70_000, ge=1, description="steps of the second stage, weighed by masks")
    epoch: Steps = Field(2_500, ge=1, description="steps after which the rate decays by a fifth")
    batch: int = Field(32, ge=2)
    lr: float = Field(1e-4, gt=0, description="first rate of the first stage; the second starts at 0.64 of it")
    weight_decay: float = Field(1e-4, ge=0)
    margin: float = Field(1.0, ge=0, description="margin of the triplet (oneline)")
    form: Literal["oneline", "doubleline"] = "oneline"
    contrast: float = Field(2.0, ge=0, description="lambda, weight of the distance before the warp (doubleline)")
    inverse: float = Field(0.01, ge=0, description="mu, weight of how far both estimates are from inverse (doubleline)")

    presets = CUDHN_PRESETS


@runtime_checkable
class Masking(Protocol):
    """A registrator that learns where to look."""

    def mask(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` in (0, 1)."""

    def normalised(self, mask: Tensor) -> Tensor:
        """Each mask scaled by its own maximum."""


class CUDHN(TrainingStrategy):
    """Two stages on ``pair``, both of the whole network."""

    Config = CUDHNConfig
    config: CUDHNConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator, with its features and masks."""
        self.registrator = ctx.registrator("registrator")
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``cudhn-alike``, then ``cudhn-masked``."""
        c = self.config
        return (
            self._stage(ctx, "cudhn-alike", c.steps, c.lr, masked=False),
            self._stage(ctx, "cudhn-masked", c.mask_steps, 0.64 * c.lr, masked=True),
        )

    def _stage(self, ctx: Context, name: str, steps: int, lr: float, *, masked: bool) -> Stage:
        objective = Objective(
            updates=("registrator",),
            loss=partial(self._loss, masked=masked),
            optimiser=partial(torch.optim.Adam, lr=lr, weight_decay=self.config.weight_decay, amsgrad=True),
            lr=step_decay(lr, self.config.epoch, 0.8),
            precision=ctx.precision,
        )
        return Stage(
            name=name,
            steps=steps,
            batch=self.config.batch,
            views=("pair",),
            objectives=(objective,),
            modules={"registrator": self.registrator},
            deploys={"registrator": self.registrator},
        )

    def _loss(self, batch: Batch, shared: Shared, *, masked: bool) -> Mapping[str, Tensor]:
        pair, c = batch.pair, self.config
        h = self._estimate(pair.source, pair.target)
        after, before, weight = self._distances(pair.source, pair.target, h, masked)
        if c.form == "oneline":
            return {"loss": whole_batch.weighted_mean(triplet(after, before, c.margin), weight), "seen": weight.mean()}
        back = self._estimate(pair.target, pair.source)
        after_back, _, weight_back = self._distances(pair.target, pair.source, back, masked)
        aligned = whole_batch.weighted_mean(after, weight) + whole_batch.weighted_mean(after_back, weight_back)
        inverse = (geometry.compose(back, h) - torch.eye(3, device=h.device)).square().sum(dim=(-1, -2)).mean()
        loss = aligned - c.contrast * before.mean() + c.inverse * inverse
        return {"loss": loss, "aligned": aligned, "inverse": inverse, "seen": weight.mean()}

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        registration = self.registrator(source, target)
        return geometry.homography_from_displacement(registration.displacement, registration.size)

    def _distances(self, source: Tensor, target: Tensor, h: Tensor, masked: bool) -> tuple[Tensor, Tensor, Tensor]:
        """L1 distances of the source's features to those of the target, after and before the warp, and their weight.

        All are ``(B, 1, h, w)``, at the resolution of the features.
        """
        size = (source.shape[-2], source.shape[-1])
        fixed, unwarped, warped = (
            self.registrator.features(image) for image in (source, target, geometry.sample(target, h))
        )
        after, before = ((fixed - other).abs().sum(dim=1, keepdim=True) for other in (warped, unwarped))
        weight = geometry.inside(h.detach(), size, size)
        if masked and isinstance(self.registrator, Masking):
            here = self.registrator.normalised(self.registrator.mask(source))
            there = geometry.sample(self.registrator.mask(target), h)
            # Where nothing of the target is seen its mask has no maximum to be scaled by.
            weight = weight * here * self.registrator.normalised(there.clamp_min(1e-6))
        return after, before, adaptive_avg_pool2d(weight, (after.shape[-2], after.shape[-1]))


def triplet(after: Tensor, before: Tensor, margin: float) -> Tensor:
    """The hinge relu(after - before + margin) at every pixel, where both are distances of features.

    It is written out because torch's ``TripletMarginLoss`` sums over the last axis, which is a row of a feature map.
    """
    return relu(after - before + margin)
