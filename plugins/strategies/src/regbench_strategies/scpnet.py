"""SCPNet: unsupervised cross-modal homography by intra-modal self-supervised learning, correlation and a consistent
feature map projection (Zhang, Ma et al., ECCV 2024).

A projection network maps both modalities to one channel; the registrator compares projections, never images. Self-pairs
of each modality teach both networks with known labels; the real pair teaches them by consistency alone: the
projections, aligned by the estimate, should differ less than unaligned. All three are one loss in one step, ``L_C + 0.1
(L_S of A + L_S of B)``. The paper's registrator, ``scpnet-net``, estimates once. Another registrator is trained by its
own loss on self-pairs, and the consistency uses its last estimate: a sequence loss over several estimates weighs L_S
more (4.2 times as much with ``ihn1``).

In the authors' code every projection inside L_C is detached, so that its gradient passes through the estimated
homography alone, and L_S keeps the projection from becoming constant; both are kept. Pixels warped out of view count as
zeros by default, also as in the code (``consistency = "faithful"``). This has a known trap: projections pushed out of
view altogether cost about 1 / sqrt(2) each way, less than the 1 of the identity, and published logs of diverged runs
end there. With ``"masked"``, pixels without a counterpart cost what they cost at the identity.

The code changes the exposure of whole images before it cuts patches; here the patch is changed, and its own mean is the
unit of brightness.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Objective,
    PairInfo,
    Registration,
    Registrator,
    SelfPair,
    Shared,
    Stage,
    Steps,
    TrainingStrategy,
    geometry,
    whole_batch,
)
from regbench.ops import to_grey
from regbench.schedules import one_cycle
from regbench_strategies.blocks.photometric import brightness_contrast, sharpen
from regbench_strategies.presets import SCPNET_PRESETS


class SCPNetConfig(ComponentConfig):
    """Defaults are the released training."""

    steps: Steps = Field(120_000, ge=1, description="training steps")
    batch: int = Field(8, ge=1, description="pairs a step; each comes with a self-pair of both modalities")
    lr: float = Field(4e-4, gt=0, description="largest rate of Adam (one-cycle over steps + 100)")
    clip: float = Field(1.0, gt=0, description="largest gradient norm of both networks together")
    self_weight: float = Field(0.1, ge=0, description="weight of each L_S; the weight of L_C is 1")
    consistency: Literal["faithful", "masked"] = Field("faithful", description="pixels warped out of view")
    jitter: bool = Field(True, description="another exposure of the warped side of self-pairs")
    width: int = Field(64, ge=1, description="channels of the projection network")
    blocks: int = Field(4, ge=0, description="its residual blocks")

    presets = SCPNET_PRESETS


class Projection(nn.Module):
    """Consistent feature map projection: any image to one channel, at full resolution.

    The published one (64 channels, 4 blocks) has 312,769 parameters.

    Args:
        width: channels inside.
        blocks: residual blocks.
    """

    def __init__(self, width: int = 64, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 1, 1)
        self.norm = nn.InstanceNorm2d(width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, 1, H, W)`` in [-1, 1]."""
        x = relu(self.norm(self.stem(2 * to_grey(image) - 1)))
        return self.head(self.blocks(x)).clamp(-1, 1)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one, each with instance norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.shortcut = nn.Conv2d(width, width, 1)
        self.norm = nn.InstanceNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        main = relu(self.norm(self.second(relu(self.norm(self.first(x))))))
        return relu(main + self.norm(self.shortcut(x)))


class ProjectFirst(Registrator):
    """registrator ∘ projection: what SCPNet deploys."""

    def __init__(self, projection: nn.Module, registrator: Registrator, info: PairInfo) -> None:
        super().__init__(ComponentConfig(), info)
        self.projection, self.registrator = projection, registrator

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Register the projections of both images; shapes are those of :class:`regbench.Registrator`."""
        return self.registrator(shown(self.projection(source)), shown(self.projection(target)))


def shown(projected: Tensor) -> Tensor:
    """A projection as registrators take images: ``(B, 1, H, W)`` in [-1, 1] to ``(B, 3, H, W)`` in [0, 1]."""
    return ((projected + 1) / 2).expand(-1, 3, -1, -1)


class SCPNet(TrainingStrategy):
    """One stage, one objective: projection and registrator together."""

    Config = SCPNetConfig
    config: SCPNetConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """Registrator ∘ projection."""
        self.registrator = ctx.registrator("registrator")
        self.projection = ctx.module("projection", lambda: Projection(self.config.width, self.config.blocks))
        self.whole = ProjectFirst(self.projection, self.registrator, ctx.info)
        return self.whole

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``scpnet`` alone."""
        c = self.config
        objective = Objective(
            updates=("projection", "registrator"),
            loss=self._loss,
            optimiser=partial(torch.optim.Adam, lr=c.lr),
            lr=one_cycle(c.lr, c.steps + 100),
            clip=c.clip,
            precision=ctx.precision,
        )
        stage = Stage(
            name="scpnet",
            steps=c.steps,
            batch=c.batch,
            views=("pair", "self_source", "self_target"),
            objectives=(objective,),
            modules={"projection": self.projection, "registrator": self.registrator},
            deploys={"registrator": self.whole},
        )
        return (stage,)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        pair = batch.pair
        source, target = self.projection(pair.source), self.projection(pair.target)
        registration = self.registrator(shown(source), shown(target))
        size = (source.shape[-2], source.shape[-1])
        h = geometry.homography_from_displacement(registration.displacement, size)
        l_c = consistency(source.detach(), target.detach(), h, masked=self.config.consistency == "masked")
        l_source = self._self_loss(batch.self_source, source, batch.generator)
        l_target = self._self_loss(batch.self_target, target, batch.generator)
        loss = l_c + self.config.self_weight * (l_source + l_target)
        return {"loss": loss, "consistency": l_c, "self_source": l_source, "self_target": l_target}

    def _self_loss(self, own: SelfPair, image: Tensor, generator: torch.Generator) -> Tensor:
        """L_S: a self-pair's warped side, differently exposed, against the projection of its image."""
        warped = own.warped
        if self.config.jitter:
            warped = sharpen(brightness_contrast(warped, 0.4, 0.4, generator), 0.5, generator)
        registration = self.registrator(shown(self.projection(warped)), shown(image))
        return self.registrator.loss(registration, own.displacement)


def consistency(source: Tensor, target: Tensor, homography: Tensor, *, masked: bool = False) -> Tensor:
    """L_C: how much two maps differ aligned, divided by how much they differ unaligned, summed over both directions.

    At the identity it is exactly 2.

    Args:
        source: ``(B, C, H, W)``.
        target: the same shape.
        homography: ``(B, 3, 3)``, source to target pixels.
        masked: pixels without a counterpart cost what they cost unaligned, not their own size.

    Returns:
        A scalar; the sums run over pixels and the whole batch.
    """
    before = (source - target).abs()
    back = geometry.invert(homography)
    ratios = torch.zeros((), device=source.device)
    for moved, fixed, h in ((source, target, homography), (target, source, back)):
        after = (geometry.warp(moved, h) - fixed).abs()
        if masked:
            seen = geometry.warp(torch.ones_like(moved[:, :1]), h)
            after = seen * after + (1 - seen) * before
        ratios = ratios + whole_batch.total(after.sum()) / whole_batch.total((before + 1e-10).sum())
    return ratios
