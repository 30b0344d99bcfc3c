"""AltO: alternating optimisation of geometry and modality, without labels (Song et al., NeurIPS 2024).

Barlow Twins compares features of the warped source with features of the target at two levels. Geometry: over the
positions of one feature map, each channel should agree with itself and with no other; this trains the registrator, for
each of its estimates. Modality: over the images of a batch, each pooled feature should agree with itself and with no
other; this trains the encoder and the projector, which make the features. The two alternate in every step: first the
registrator with the encoder frozen, then encoder and projector on the image the registrator warped before its update.
Trained together they find the trivial solution (``alternate = False`` shows it).

The frozen encoder stays in training mode, as in the authors' code: its batch norm normalises source and target by their
own statistics, since they pass through it one after the other. That is part of the method. Warped images have black
borders and no mask. The authors choose their checkpoint by test error; here the last one is evaluated. The encoder of
their IHN has identity shortcuts without norm (as ResNet-D); ``ihn1`` is that of the IHN paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Objective,
    Registration,
    Registrator,
    Shared,
    Stage,
    Steps,
    TrainingStrategy,
    geometry,
    whole_batch,
)
from regbench.ops import RESNET34_DEPTHS, RESNET34_WIDTHS, resnet34
from regbench.schedules import one_cycle
from regbench_strategies.presets import ALTO_PRESETS


class AltOConfig(ComponentConfig):
    """Defaults are the released training: 200 epochs of GoogleEarth's 8,750 pairs in batches of 16."""

    steps: Steps = Field(109_400, ge=1, description="training steps; each updates all networks")
    batch: int = Field(16, ge=2, description="pairs a step; fewer than 16 starve the modality loss")
    lr: float = Field(3e-4, gt=0, description="largest rate of both AdamW (one-cycle)")
    weight_decay: float = Field(1e-5, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm of the registrator; the others are not clipped")
    redundancy: float = Field(0.005, ge=0, description="weight of the terms off the diagonal, lambda")
    decay: float = Field(0.85, gt=0, le=1, description="weight of an estimate over that of the next (IHN, RHWF)")
    alternate: bool = Field(True, description="False trains all networks on the sum of both losses")
    depths: tuple[int, int, int] = Field(
        RESNET34_DEPTHS[:3], description="residual blocks: two stages encode, one projects"
    )
    widths: tuple[int, int, int] = Field(RESNET34_WIDTHS[:3], description="their channels")

    presets = ALTO_PRESETS


def encoder(depths: tuple[int, ...], widths: tuple[int, ...]) -> nn.Sequential:
    """ResNet-34 up to its second stage, without the pooling of the stem: features at a quarter of the size (1.35 M)."""
    trunk = resnet34(depths=depths[:2], widths=widths[:2])
    return nn.Sequential(*(trunk.get_submodule(part) for part in ("conv1", "bn1", "act1", "layer1", "layer2")))


def projector(depths: tuple[int, ...], widths: tuple[int, ...]) -> nn.Sequential:
    """ResNet-34's third stage and average pooling: features ``(B, C, h, w)`` to one vector an image (6.82 M)."""
    trunk = resnet34(depths=depths, widths=widths)
    return nn.Sequential(trunk.get_submodule("layer3"), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class AltO(TrainingStrategy):
    """One stage, two objectives: the registrator, then encoder and projector."""

    Config = AltOConfig
    config: AltOConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator alone."""
        c = self.config
        self.registrator = ctx.registrator("registrator")
        self.encoder = ctx.module("encoder", lambda: encoder(c.depths, c.widths))
        self.projector = ctx.module("projector", lambda: projector(c.depths, c.widths))
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``alto`` alone; all networks are in training mode throughout."""
        c = self.config
        objective = partial(
            Objective,
            optimiser=partial(torch.optim.AdamW, lr=c.lr, weight_decay=c.weight_decay),
            lr=one_cycle(c.lr, c.steps),
            precision=ctx.precision,
        )
        if c.alternate:
            objectives: tuple[Objective, ...] = (
                objective(updates=("registrator",), loss=self._geometry_loss, clip=c.clip),
                objective(updates=("encoder", "projector"), loss=self._modality_loss),
            )
        else:
            together = ("registrator", "encoder", "projector")
            objectives = (objective(updates=together, loss=self._joint_loss, clip=c.clip),)
        stage = Stage(
            name="alto",
            steps=c.steps,
            batch=c.batch,
            views=("pair",),
            objectives=objectives,
            modules={"registrator": self.registrator, "encoder": self.encoder, "projector": self.projector},
            train=("registrator", "encoder", "projector"),
            deploys={"registrator": self.registrator},
        )
        return (stage,)

    def _geometry_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """Barlow Twins over positions for every estimate, later ones weighing more.

        The source warped by the last estimate is handed to the modality loss.
        """
        pair = batch.pair
        warped = warps(pair.source, self.registrator(pair.source, pair.target))
        shared["warped"] = warped[-1].detach()
        target = positions(self.encoder(2 * pair.target - 1))
        losses = [
            barlow_twins(positions(self.encoder(2 * image - 1)), target, self.config.redundancy).mean()
            for image in warped
        ]
        weighted = [self.config.decay ** (len(losses) - 1 - i) * loss for i, loss in enumerate(losses)]
        return {"loss": sum(weighted[1:], start=weighted[0])}

    def _modality_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """Barlow Twins over the images of the whole batch."""
        target, warped = (
            self.projector(self.encoder(2 * image - 1)) for image in (batch.pair.target, shared["warped"])
        )
        return {"loss": barlow_twins(whole_batch.gather(warped), whole_batch.gather(target), self.config.redundancy)}

    def _joint_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        geometric = self._geometry_loss(batch, shared)["loss"]
        modal = self._modality_loss(batch, shared)["loss"]
        return {"loss": geometric + modal, "geometry": geometric, "modality": modal}


def warps(source: Tensor, registration: Registration) -> list[Tensor]:
    """The source warped onto the target by each estimate, first to last; black where nothing is seen."""
    homographies = geometry.homography_from_displacement(registration.displacements, registration.size)
    return [geometry.warp(source, h) for h in homographies]


def positions(features: Tensor) -> Tensor:
    """Feature maps ``(B, C, h, w)`` as ``(B, h w, C)``."""
    return features.flatten(2).mT


def barlow_twins(a: Tensor, b: Tensor, redundancy: float) -> Tensor:
    """Distance of the cross-correlation of two sets of features from the unit matrix (Zbontar et al. 2021).

    Args:
        a: ``(..., N, C)``, N samples of C features; each feature is standardised over the samples.
        b: the same shape.
        redundancy: weight of the squared entries off the diagonal.

    Returns:
        ``(...)``: sum over c of (1 - C_cc)^2 plus ``redundancy`` times the sum of C_cd^2 over c != d.
    """
    a, b = ((x - x.mean(dim=-2, keepdim=True)) / (x.std(dim=-2, keepdim=True) + 1e-5) for x in (a, b))
    correlation = a.mT @ b / (a.shape[-2] - 1)
    diagonal = correlation.diagonal(dim1=-2, dim2=-1)
    off = correlation.square().sum(dim=(-1, -2)) - diagonal.square().sum(dim=-1)
    return (1 - diagonal).square().sum(dim=-1) + redundancy * off
