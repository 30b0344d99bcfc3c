"""CUDHN: content-aware unsupervised deep homography estimation (Zhang et al., ECCV 2020).

A triplet loss on features the network learns itself: at every pixel the source's feature should be nearer to that of
the target warped onto it than to that of the target as it lies, by a margin. Without the second distance features would
turn constant. Two stages: at first every pixel counts alike; then by masks the network learns, of where to look.

``form = "oneline"`` is the loss of the released code, a hinge in one direction. ``"doubleline"`` is the paper's:
both directions without a hinge, less lambda times the distance before the warp, plus mu times the squared distance of
the two estimates' product from the unit matrix.

The paper trains the network that regbench calls ``cudhn-net``, whose features and masks these are. A registrator with
features but no masks can be trained as well; every pixel then counts alike in both stages, and no paper has done it.

Readings. Homographies run from pixels of the source (the released second image) to those of the target, so it is the
target that is warped. The released code crops its patch from a larger warped frame; here there is nothing beyond the
patch, and a pixel the warp did not find has no weight. The first stage weighs the loss alone by ones: the masks at the
network's entrance stay as they are. Features of more than one channel are compared by the sum over channels.
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


class CUDHNConfig(ComponentConfig):
    """Defaults are the released training: 80,000 pairs in batches of 32, 2 epochs alike and 28 by masks."""

    steps: Steps = Field(5_000, ge=1, description="of the first stage, in which every pixel counts alike")
    mask_steps: Steps = Field(70_000, ge=1, description="of the second, by masks")
    epoch: Steps = Field(2_500, ge=1, description="steps after which the rate decays by a fifth")
    batch: int = Field(32, ge=2)
    lr: float = Field(1e-4, gt=0, description="first rate of the first stage; the second starts at 0.64 of it")
    weight_decay: float = Field(1e-4, ge=0)
    margin: float = Field(1.0, ge=0, description="of the triplet (oneline)")
    form: Literal["oneline", "doubleline"] = "oneline"
    contrast: float = Field(2.0, ge=0, description="lambda, weight of the distance before the warp (doubleline)")
    inverse: float = Field(0.01, ge=0, description="mu, weight of how far both estimates are from inverse (doubleline)")

    presets = {
        "quick": {"steps": 200, "mask_steps": 700, "epoch": 200, "batch": 16, "lr": 5e-4},
        "smoke": {"steps": 10, "mask_steps": 10, "epoch": 10, "batch": 4},
        "tiny": {"steps": 2, "mask_steps": 2, "epoch": 2, "batch": 2},
    }


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

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``cudhn-alike``, then ``cudhn-masked``."""
        c = self.config
        self.registrator = ctx.registrator("registrator")

        def stage(name: str, steps: int, lr: float, masked: bool) -> Stage:
            objective = Objective(
                updates=("registrator",),
                loss=partial(self._loss, masked=masked),
                optimiser=partial(torch.optim.Adam, lr=lr, weight_decay=c.weight_decay, amsgrad=True),
                lr=step_decay(lr, c.epoch, 0.8),
                precision=ctx.precision,
            )
            modules = {"registrator": self.registrator}
            return Stage(name, steps, c.batch, ("pair",), (objective,), modules, deploys=modules)

        return (
            stage("cudhn-alike", c.steps, c.lr, masked=False),
            stage("cudhn-masked", c.mask_steps, 0.64 * c.lr, masked=True),
        )

    def deployed(self) -> Registrator:
        """The registrator, as trained."""
        return self.registrator

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
        found = self.registrator(source, target)
        return geometry.homography_from_displacement(found.displacement, found.size)

    def _distances(self, source: Tensor, target: Tensor, h: Tensor, masked: bool) -> tuple[Tensor, Tensor, Tensor]:
        """L1 distances of the source's features to the warped and to the lying target's, and their weight.

        All ``(B, 1, h, w)`` at the resolution of the features.
        """
        size = (source.shape[-2], source.shape[-1])
        fixed, lying, warped = (
            self.registrator.features(image) for image in (source, target, geometry.sample(target, h))
        )
        after, before = ((fixed - other).abs().sum(dim=1, keepdim=True) for other in (warped, lying))
        weight = geometry.inside(h.detach(), size, size)
        if masked and isinstance(self.registrator, Masking):
            here = self.registrator.normalised(self.registrator.mask(source))
            there = geometry.sample(self.registrator.mask(target), h)
            # Where nothing of the target is seen its mask has no maximum to be scaled by.
            weight = weight * here * self.registrator.normalised(there.clamp_min(1e-6))
        return after, before, adaptive_avg_pool2d(weight, after.shape[-2:])


def triplet(after: Tensor, before: Tensor, margin: float) -> Tensor:
    """Hinge of every pixel: how much the distance after the warp exceeds that before it, less a margin.

    It is written out because torch's ``TripletMarginLoss`` sums over the last axis, which of a feature map is a row.
    """
    return relu(after - before + margin)
