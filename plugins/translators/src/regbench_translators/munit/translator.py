"""MUNIT: multimodal unsupervised image-to-image translation (Huang et al. 2018).

An image consists of a content, which both modalities share, and a style of its modality. A translation decodes the
source's content with a style of the target's modality. In each step the discriminators learn first, on translations
with random styles, then the encoders and decoders. These must reconstruct an image from its own content and style, the
content and the random style from a translation, and the image from its translation.

A translation takes, by default, the style of the unaligned target image (``style = "exemplar"``); with ``random`` the
style is drawn. CoLReg does not say which it used. ``lambda_cycle`` is 10, as published for two modalities of one scene.
The perceptual loss of some published settings is omitted: it needs external weights, and most settings weigh it by 0.

The schedule is the published million steps; the rate is halved every hundred thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage, Steps
from regbench.ops import discriminator_loss, generator_loss
from regbench.schedules import step_decay
from regbench_translators.blocks.base import ADAM, AdversarialConfig, ImageTranslator, total
from regbench_translators.blocks.draws import normal_codes
from regbench_translators.blocks.initial import initialise
from regbench_translators.munit.networks import Modality, MultiScaleDiscriminator
from regbench_translators.presets import MUNIT_PRESETS


class MUNITConfig(AdversarialConfig):
    """The defaults are the published ones."""

    steps: Steps = Field(1_000_000, ge=1)
    halve_every: Steps = Field(100_000, ge=1, description="steps after which the rate is halved")
    lr: float = Field(1e-4, gt=0, description="of generators and discriminators")
    weight_decay: float = Field(1e-4, ge=0)
    blocks: int = Field(4, ge=1, description="residual blocks of each encoder and decoder")
    style_size: int = Field(8, ge=1, description="length of a style code")
    hidden: int = Field(256, ge=1, description="width of the perceptron that reads styles")
    scales: int = Field(3, ge=1, description="image sizes each discriminator judges")
    style: Literal["exemplar", "random"] = Field(
        "exemplar", description="style of a translation: the target image's, or a random one"
    )
    lambda_gan: float = Field(1.0, ge=0)
    lambda_image: float = Field(10.0, ge=0, description="of reconstructing an image from its own codes")
    lambda_style: float = Field(1.0, ge=0)
    lambda_content: float = Field(1.0, ge=0)
    lambda_cycle: float = Field(10.0, ge=0, description="of reconstructing an image from its translation")

    presets = MUNIT_PRESETS


class MUNIT(ImageTranslator):
    """Encoders, decoders and discriminators of both modalities.

    Raises:
        ValueError: the patch is too small for the discriminator's scales.
    """

    Config = MUNITConfig
    config: MUNITConfig

    def __init__(self, config: MUNITConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        c = config
        least = 2 ** (c.scales + 3)
        if info.patch < least:
            raise ValueError(
                f"{c.scales} scales of the discriminator need a patch of at least {least} px, got {info.patch}: take "
                "fewer scales or a larger protocol.patch"
            )
        channels = {"source": info.source_channels, "target": info.target_channels}
        modalities = {side: Modality(n, c.width, c.blocks, c.style_size, c.hidden) for side, n in channels.items()}
        self.generators = nn.ModuleDict(modalities)
        self.critics = nn.ModuleDict(
            {side: MultiScaleDiscriminator(n, c.critic_width, c.scales) for side, n in channels.items()}
        )
        initialise(self.generators, "kaiming")
        initialise(self.critics, "normal")
        for modality in modalities.values():
            modality.decoder.reset_norms()

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """The source's content decoded with a style of the target's modality."""
        own, other = self._modality("source"), self._modality("target")
        exemplar = self.config.style == "exemplar"
        style = other.style(target) if exemplar else normal_codes(source, self.config.style_size, generator)
        return other.decode(own.content(source), style)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """One stage: in each step the discriminators learn, then encoders and decoders."""
        c = self.config
        discriminators, generators = self.module_names(ctx, "critics", "generators")
        objective = partial(
            Objective,
            optimiser=partial(ADAM, weight_decay=c.weight_decay),
            lr=step_decay(c.lr, c.halve_every, 0.5),
            precision=ctx.precision,
        )
        objectives = (
            objective(updates=(discriminators,), loss=self._discriminator_loss),
            objective(updates=(generators,), loss=self._generator_loss),
        )
        return (self.adversarial_stage(ctx, "munit", steps or c.steps, objectives, shared=self._images),)

    def _images(self, batch: Batch) -> Shared:
        source, target = self.unpaired_images(batch)
        return {"source": source, "target": target}

    def _modality(self, side: str) -> Modality:
        return cast(Modality, self.generators[side])

    def _style(self, batch: Batch, images: Tensor) -> Tensor:
        """A style ``(B, style_size)`` from the prior N(0, I)."""
        return normal_codes(images, self.config.style_size, batch.generator)

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        losses = {}
        for side, other in (("source", "target"), ("target", "source")):
            with torch.no_grad():
                content = self._modality(other).content(shared[other])
                fake = self._modality(side).decode(content, self._style(batch, content))
            discriminator = self.critics[side]
            verdicts = zip(discriminator(shared[side]), discriminator(fake), strict=True)
            losses[side] = total(discriminator_loss(real, fake, self.config.gan) for real, fake in verdicts)
        return {"loss": self.config.lambda_gan * (losses["source"] + losses["target"]), **losses}

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c = self.config
        codes = {side: self._modality(side)(shared[side]) for side in ("source", "target")}
        losses: dict[str, Tensor] = {}

        def add(name: str, value: Tensor) -> None:
            losses[name] = losses[name] + value if name in losses else value

        for side, other in (("source", "target"), ("target", "source")):
            own, foreign = self._modality(side), self._modality(other)
            image, (content, style) = shared[side], codes[side]
            add("image", F.l1_loss(own.decode(content, style), image))
            random_style = self._style(batch, image)
            translated = foreign.decode(content, random_style)
            content_again, style_again = foreign(translated)
            add("content", F.l1_loss(content_again, content))
            add("style", F.l1_loss(style_again, random_style))
            if c.lambda_cycle:
                add("cycle", F.l1_loss(own.decode(content_again, style), image))
            add("gan", total(generator_loss(verdict, c.gan) for verdict in self.critics[other](translated)))
        weights = {name: getattr(c, f"lambda_{name}") for name in losses}
        return {"loss": total(weights[name] * value for name, value in losses.items()), **losses}
