"""MUNIT: multimodal unsupervised image-to-image translation (Huang et al. 2018).

An image is a content, shared by the modalities, and a style of its own. To translate is to decode the source's content
with a style of the target's modality. Discriminators learn first, on translations with styles drawn for them; then
encoders and decoders, which must give back an image from its own content and style, the content and the drawn style
from a translation, and the image from the way there and back.

The style of a translation is, by default, that of the unaligned target image (``style = "exemplar"``); ``random`` draws
it. CoLReg does not say which it used. ``lambda_cycle`` is 10, as published for two modalities of one scene. The
perceptual loss some published settings add is left out: it needs weights from outside and is 0 in most of them.

The schedule is the published million steps, the rate halved every hundred thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage, Steps
from regbench.schedules import step_decay
from regbench_translators.blocks.base import ADAM, AdversarialConfig, ImageTranslator
from regbench_translators.blocks.gan import critic_loss, generator_loss
from regbench_translators.blocks.initial import initialise
from regbench_translators.munit.networks import Modality, MultiScaleCritic, normal_style

_SMALL = {"width": 8, "blocks": 1, "hidden": 16, "critic_width": 8, "scales": 2}


class MUNITConfig(AdversarialConfig):
    """Defaults are the published ones."""

    steps: Steps = Field(1_000_000, ge=1)
    halve_every: Steps = Field(100_000, ge=1, description="steps after which the rate is halved")
    lr: float = Field(1e-4, gt=0, description="of generators and discriminators")
    weight_decay: float = Field(1e-4, ge=0)
    blocks: int = Field(4, ge=1, description="residual blocks of each encoder and decoder")
    style_size: int = Field(8, ge=1, description="length of a style code")
    hidden: int = Field(256, ge=1, description="width of the perceptron that reads styles")
    scales: int = Field(3, ge=1, description="image sizes each discriminator judges")
    style: Literal["exemplar", "random"] = Field("exemplar", description="whose style a translation takes")
    lambda_gan: float = Field(1.0, ge=0)
    lambda_image: float = Field(10.0, ge=0, description="of giving back an image from its own codes")
    lambda_style: float = Field(1.0, ge=0)
    lambda_content: float = Field(1.0, ge=0)
    lambda_cycle: float = Field(10.0, ge=0, description="of giving back an image from its translation")

    presets = {
        "quick": {
            "steps": 440, "halve_every": 220, "batch": 2, "width": 16, "blocks": 3, "hidden": 64, "critic_width": 16,
            "scales": 2, "lr": 5e-4,
        },
        "smoke": _SMALL | {"steps": 6, "halve_every": 3, "batch": 2},
        "tiny": _SMALL | {"steps": 4, "halve_every": 2, "batch": 2, "width": 4},
    }  # fmt: skip


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
        self.generators = nn.ModuleDict(
            {side: Modality(n, c.width, c.blocks, c.style_size, c.hidden) for side, n in channels.items()}
        )
        self.critics = nn.ModuleDict(
            {side: MultiScaleCritic(n, c.critic_width, c.scales) for side, n in channels.items()}
        )
        initialise(self.generators, "kaiming")
        initialise(self.critics, "normal")
        for modality in self.generators.values():
            modality.decoder.reset_norms()

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """The source's content decoded with a style of the target's modality."""
        to = self.generators["target"]
        exemplar = self.config.style == "exemplar"
        style = to.style(target) if exemplar else normal_style(source, self.config.style_size, generator)
        return to.decode(self.generators["source"].content(source), style)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """Discriminators, then encoders and decoders, in each step."""
        c = self.config
        lr, adam = step_decay(c.lr, c.halve_every, 0.5), partial(ADAM, weight_decay=c.weight_decay)
        critics, generators = self.parts(ctx, "critics", "generators")
        objectives = (
            Objective((critics,), self._critic_loss, adam, lr, precision=ctx.precision),
            Objective((generators,), self._generator_loss, adam, lr, precision=ctx.precision),
        )
        return (self.adversarial_stage(ctx, "munit", steps or c.steps, objectives, self._images),)

    def _images(self, batch: Batch) -> Shared:
        source, target = self.unpaired_images(batch)
        return {"source": source, "target": target}

    def _style(self, batch: Batch, like: Tensor) -> Tensor:
        return normal_style(like, self.config.style_size, batch.generator)

    def _critic_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        losses = {}
        for side, other in (("source", "target"), ("target", "source")):
            with torch.no_grad():
                content = self.generators[other].content(shared[other])
                fake = self.generators[side].decode(content, self._style(batch, content))
            critic = self.critics[side]
            verdicts = zip(critic(shared[side]), critic(fake), strict=True)
            losses[side] = sum(critic_loss(real, fake, self.config.gan) for real, fake in verdicts)
        return {"loss": self.config.lambda_gan * (losses["source"] + losses["target"]), **losses}

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c, modality = self.config, self.generators
        codes = {side: modality[side](shared[side]) for side in ("source", "target")}
        losses: dict[str, Tensor] = {}

        def add(name: str, value: Tensor) -> None:
            losses[name] = losses[name] + value if name in losses else value

        for side, other in (("source", "target"), ("target", "source")):
            image, (content, style) = shared[side], codes[side]
            add("image", F.l1_loss(modality[side].decode(content, style), image))
            drawn = self._style(batch, image)
            translated = modality[other].decode(content, drawn)
            content_again, style_again = modality[other](translated)
            add("content", F.l1_loss(content_again, content))
            add("style", F.l1_loss(style_again, drawn))
            if c.lambda_cycle:
                add("cycle", F.l1_loss(modality[side].decode(content_again, style), image))
            add("gan", sum(generator_loss(verdict, c.gan) for verdict in self.critics[other](translated)))
        weights = {name: getattr(c, f"lambda_{name}") for name in losses}
        return {"loss": sum(weights[name] * value for name, value in losses.items()), **losses}
