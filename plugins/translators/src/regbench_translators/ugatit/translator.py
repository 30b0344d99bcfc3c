"""U-GAT-IT: attention by class activation maps and adaptive layer-instance norm (Kim et al. 2020).

Two generators undo each other. Each has an auxiliary classifier that distinguishes the modalities and whose weights
direct its attention. Each modality has a global and a local discriminator with such a classifier. In each step the
discriminators learn first, on image and classifier verdicts, then the generators, by adversarial, cycle, identity and
classifier losses. After each step of the generators, every rho of the norms is clipped to [0, 1].

The full model reads its norms' scale and shift from flattened features: it has 77.6 M parameters a generator at 128 px,
279 M at 256, and takes one image size. ``light`` reads them from means (10.6 M, any size). Initial weights are torch's
own, as in the authors' port. The schedule is the published million steps; in their second half the rate falls to zero.

When the modalities have different numbers of channels, both generators read as many as the richer one has: an image of
either modality fits, and identity and classifier losses exist for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage, Steps, UsageError
from regbench.ops import discriminator_loss, generator_loss
from regbench.schedules import constant_then_linear
from regbench_translators.blocks.base import ADAM, AdversarialConfig, ImageTranslator, total
from regbench_translators.presets import UGATIT_PRESETS
from regbench_translators.ugatit.networks import Discriminator, Generator, least_side

_SIDES = (("source", "target"), ("target", "source"))


class UGATITConfig(AdversarialConfig):
    """The defaults are the published ones."""

    steps: Steps = Field(1_000_000, ge=1)
    decay: float = Field(0.5, ge=0, le=1, description="last share of the steps, in which the rate falls to zero")
    lr: float = Field(1e-4, gt=0, description="of generators and discriminators")
    weight_decay: float = Field(1e-4, ge=0)
    light: bool = Field(False, description="read the norms' scale and shift from means of the features")
    blocks: int = Field(4, ge=1, description="residual blocks of each encoder and decoder")
    global_layers: int = Field(7, ge=3, description="layers of the global discriminators; all but two halve")
    local_layers: int = Field(5, ge=3, description="layers of the local discriminators")
    lambda_gan: float = Field(1.0, ge=0)
    lambda_cycle: float = Field(10.0, ge=0)
    lambda_identity: float = Field(10.0, ge=0)
    lambda_cam: float = Field(1000.0, ge=0, description="of the generators' classifiers")

    presets = UGATIT_PRESETS


class UGATIT(ImageTranslator):
    """Two generators and four discriminators.

    Raises:
        ValueError: the patch is too small for a discriminator.
    """

    Config = UGATITConfig
    config: UGATITConfig

    def __init__(self, config: UGATITConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        c = config
        layers = {"global": c.global_layers, "local": c.local_layers}
        for reach, number in layers.items():
            if info.patch < least_side(number):
                raise ValueError(
                    f"{reach}_layers={number} need a patch of at least {least_side(number)} px, got {info.patch}: "
                    f"take fewer {reach}_layers or a larger protocol.patch"
                )
        channels = {"source": info.source_channels, "target": info.target_channels}
        side = None if c.light else info.patch
        self.generators = nn.ModuleDict(
            {f"to_{name}": Generator(self.common_channels, n, c.width, c.blocks, side) for name, n in channels.items()}
        )
        self.critics = nn.ModuleDict(
            {
                f"{name}_{reach}": Discriminator(n, c.critic_width, number)
                for name, n in channels.items()
                for reach, number in layers.items()
            }
        )

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """One pass of the generator, without looking at the target.

        Raises:
            UsageError: the full model got images of another size than it was built for.
        """
        side = self.info.patch
        if not self.config.light and source.shape[-2:] != (side, side):
            raise UsageError(
                f"ugatit is built for {side} x {side} px, got {source.shape[-1]} x {source.shape[-2]}: use ugatit-light"
            )
        return self._to("target", source)[0]

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """One stage: in each step the discriminators learn, then the generators."""
        c = self.config
        steps = steps or c.steps
        discriminators, generators = self.module_names(ctx, "critics", "generators")
        objective = partial(
            Objective,
            optimiser=partial(ADAM, weight_decay=c.weight_decay),
            lr=constant_then_linear(c.lr, steps, round(c.decay * steps)),
            precision=ctx.precision,
        )
        objectives = (
            objective(updates=(discriminators,), loss=self._discriminator_loss),
            objective(updates=(generators,), loss=self._generator_loss, after=self._clip),
        )
        return (self.adversarial_stage(ctx, "ugatit", steps, objectives, shared=self._fakes),)

    def _clip(self) -> None:
        for generator in self.generators.values():
            cast(Generator, generator).clip()

    def _to(self, side: str, image: Tensor) -> tuple[Tensor, Tensor]:
        """Translate an image of either modality to that of ``side``; also the logits of the generator's classifier."""
        return self.generators[f"to_{side}"](self.common(image))

    def _verdicts(self, side: str, image: Tensor) -> list[Tensor]:
        """Image verdicts and classifier logits of both discriminators of a modality."""
        return [verdict for reach in ("global", "local") for verdict in self.critics[f"{side}_{reach}"](image)]

    def _fakes(self, batch: Batch) -> Shared:
        source, target = self.unpaired_images(batch)
        images = {"source": source, "target": target}
        return images | {f"to_{side}": self._to(side, images[other]) for side, other in _SIDES}

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        losses = {}
        for side, _ in _SIDES:
            real, fake = self._verdicts(side, shared[side]), self._verdicts(side, shared[f"to_{side}"][0].detach())
            losses[side] = total(discriminator_loss(r, f, self.config.gan) for r, f in zip(real, fake, strict=True))
        return {"loss": self.config.lambda_gan * (losses["source"] + losses["target"]), **losses}

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c = self.config
        losses = {name: shared["source"].new_zeros(()) for name in ("gan", "cycle", "identity", "cam")}
        for side, other in _SIDES:
            fake, logits = shared[f"to_{side}"]
            own, own_logits = self._to(side, shared[side])
            losses["gan"] = losses["gan"] + total(generator_loss(v, c.gan) for v in self._verdicts(side, fake))
            losses["cycle"] = losses["cycle"] + F.l1_loss(self._to(other, fake)[0], shared[other])
            losses["identity"] = losses["identity"] + F.l1_loss(own, shared[side])
            losses["cam"] = losses["cam"] + _classifier_loss(logits, own_logits)
        loss = total(getattr(c, f"lambda_{name}") * value for name, value in losses.items())
        return {"loss": loss, **losses}


def _classifier_loss(foreign: Tensor, own: Tensor) -> Tensor:
    """Loss of a generator's classifier, whose label is 1 for images to translate and 0 for its own modality."""
    return F.binary_cross_entropy_with_logits(foreign, torch.ones_like(foreign)) + (
        F.binary_cross_entropy_with_logits(own, torch.zeros_like(own))
    )
