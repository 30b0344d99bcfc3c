"""biHomE: perceptual loss for robust unsupervised homography estimation (Koguciuk et al., CVPR workshops 2021).

A frozen network computes features of the target and of the source warped onto it. Where both are in view, the features
of the warped source should be nearer to the target's than those of the source as it is. The registrator estimates both
directions, with its inputs exchanged, and their product should be the unit matrix. The triplet has no hinge, as in the
authors' code, so the loss is normally negative; ``margin`` gives it one. It is summed over the batch: the rate depends
on the batch.

The loss network is a ResNet-34 up to its first stage, its weights from ImageNet. Only its parameters are frozen: its
batch norm normalises each set of images by its own statistics, as in the authors' code. Weights come from ``weights =
FILE`` or, for ``"imagenet"``, from the caches of torchvision and timm; they are never downloaded. ``"random"`` takes
seeded random features instead, which the short presets do because they need no file: a figure made with them is not
biHomE's.

The published rate depends on the network: 5e-3 for DHN (``dhn-resnet34``), 1e-2 for CUDHN's. Iterative registrators,
which no paper has trained this way, need less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
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
from regbench.ops import RESNET34_DEPTHS, RESNET34_WIDTHS, imagenet_file, load_imagenet, resnet34, to_grey
from regbench.schedules import step_decay
from regbench_strategies.presets import BIHOME_PRESETS


class BiHomEConfig(ComponentConfig):
    """Defaults are the published training of DHN."""

    steps: Steps = Field(90_000, ge=1, description="training steps")
    decay_steps: Steps = Field(30_000, ge=1, description="steps after which the rate falls to a tenth")
    batch: int = Field(64, ge=2)
    lr: float = Field(5e-3, gt=0, description="first rate of Adam")
    clip: float | None = Field(None, gt=0, description="largest gradient norm; the published training has none")
    margin: float | None = Field(None, description="margin of the triplet's hinge; none: no hinge")
    inverse: float = Field(0.01, ge=0, description="weight of how far both estimates are from inverse")
    weights: str = Field("imagenet", description="weights of the loss network: imagenet, random, or a file")

    presets = BIHOME_PRESETS


class LossNetwork(nn.Module):
    """ResNet-34 up to its first stage: 64 features at a quarter of the size, of standardised grey images."""

    MEAN, DEVIATION = 0.443, 0.129

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet34(depths=RESNET34_DEPTHS[:1], widths=RESNET34_WIDTHS[:1])
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, 64, H / 4, W / 4)``."""
        x = ((to_grey(image) - self.MEAN) / self.DEVIATION).expand(-1, 3, -1, -1)
        for part in ("conv1", "bn1", "act1", "maxpool", "layer1"):
            x = self.trunk.get_submodule(part)(x)
        return x


class BiHomE(TrainingStrategy):
    """One stage, one objective; the loss network is in training mode beside the registrator."""

    Config = BiHomEConfig
    config: BiHomEConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """The registrator alone."""
        self.registrator = ctx.registrator("registrator")
        self.loss_network = ctx.module("loss_network", LossNetwork)
        return self.registrator

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``bihome`` alone; it begins by reading the loss network's weights."""
        c = self.config
        objective = Objective(
            updates=("registrator",),
            loss=self._loss,
            optimiser=partial(torch.optim.Adam, lr=c.lr),
            lr=step_decay(c.lr, c.decay_steps),
            clip=c.clip,
            precision=ctx.precision,
        )
        stage = Stage(
            name="bihome",
            steps=c.steps,
            batch=c.batch,
            views=("pair",),
            objectives=(objective,),
            modules={"registrator": self.registrator, "loss_network": self.loss_network},
            begin=None if c.weights == "random" else self._read_weights,
            train=("registrator", "loss_network"),
            deploys={"registrator": self.registrator},
        )
        return (stage,)

    def weight_files(self) -> Sequence[Path]:
        """The file of the loss network."""
        weights = self.config.weights
        return () if weights == "random" else (imagenet_file(None if weights == "imagenet" else weights),)

    def _read_weights(self) -> None:
        # Not in ``build``: a finished run holds these weights, and must open without the file.
        load_imagenet(self.loss_network.get_submodule("trunk"), self.weight_files()[0])

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        source, target = batch.pair.source, batch.pair.target
        forth, back = self._estimate(source, target), self._estimate(target, source)
        f_source, f_target = self.loss_network(source), self.loss_network(target)
        perceptual = self._perceptual(source, f_source, f_target, forth).sum()
        perceptual = whole_batch.total(perceptual + self._perceptual(target, f_target, f_source, back).sum())
        eye = torch.eye(3, device=source.device)
        inverse = whole_batch.total((geometry.compose(back, forth) - eye).square().sum())
        loss = perceptual + self.config.inverse * inverse
        return {"loss": loss, "perceptual": perceptual / batch.size, "inverse": inverse / batch.size}

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        registration = self.registrator(source, target)
        return geometry.homography_from_displacement(registration.displacement, registration.size)

    def _perceptual(self, moved: Tensor, f_moved: Tensor, f_fixed: Tensor, h: Tensor) -> Tensor:
        """``(B,)``, the distance of the features after the warp less that before it, averaged over what is in view."""
        warped = self.loss_network(geometry.warp(moved, h))
        seen = geometry.warp(torch.ones_like(moved[:, :1]), h)
        seen = adaptive_avg_pool2d(seen, (f_fixed.shape[-2], f_fixed.shape[-1]))
        after, before = ((f - f_fixed).abs().sum(dim=1, keepdim=True) for f in (warped, f_moved))
        gain = after - before
        if self.config.margin is not None:
            gain = relu(gain + self.config.margin)
        return (gain * seen).sum(dim=(1, 2, 3)) / seen.sum(dim=(1, 2, 3)).clamp_min(1.0)
