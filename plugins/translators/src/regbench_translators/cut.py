"""CUT and FastCUT: contrastive unpaired translation (Park et al. 2020).

There is one generator and one discriminator. PatchNCE keeps content in place: the code of a translated patch, read by
the generator's own encoder, must resemble the code of the input patch at the same place more than those of other
places. On target images the same loss is a learned identity loss. FastCUT (registered as ``fastcut`` with other
defaults) omits this identity half, weighs PatchNCE by 10 and mirrors the generator's input half of the time.

In each step the discriminator learns first, then generator and patch sampler together. The schedule is the published
200 + 200 epochs (FastCUT 150 + 50), counted in images of horse2zebra (1334 an epoch). The sampler's random window
replaces the published resize to 286 and crop to 256.

Layer 0 is the padded image itself; as in the published code, its codes hold nothing but intensity when the image is
grey. The encoder reads both modalities and therefore has as many channels as the richer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage
from regbench.ops import PatchGAN, PatchSampler, check_patchgan, discriminator_loss, generator_loss
from regbench.schedules import constant_then_linear
from regbench_translators.blocks.base import ADAM, ImageTranslator
from regbench_translators.blocks.contrastive import ContrastiveConfig
from regbench_translators.blocks.initial import initialise
from regbench_translators.blocks.resnet import ResNetGenerator, check_taps
from regbench_translators.presets import CUT_PRESETS


class CUTConfig(ContrastiveConfig):
    """The defaults are CUT's published ones."""

    antialias: bool = Field(True, description="blurred sampling; without it the layers have other numbers")
    flip_equivariance: bool = Field(False, description="mirror the generator's input half of the time, not the keys")

    presets = CUT_PRESETS


class CUT(ImageTranslator):
    """Generator, patch sampler and discriminator.

    Raises:
        ValueError: a layer of ``nce_layers`` does not exist, or the patch is too small for the discriminator.
    """

    Config = CUTConfig
    config: CUTConfig

    def __init__(self, config: CUTConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        c = config
        check_patchgan(info.patch, c.critic_layers)
        self.generator = ResNetGenerator(self.common_channels, info.target_channels, c.width, c.blocks, c.antialias)
        check_taps(c.nce_layers, len(self.generator.encoder))
        self.sampler = PatchSampler([self.generator.channels[i] for i in c.nce_layers], c.codes, c.patches)
        self.critic = PatchGAN(info.target_channels, c.critic_width, c.critic_layers, c.antialias)
        initialise(self, "xavier")

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """One pass of the generator, without looking at the target."""
        return self.generator(self.common(source))

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Features of the generator's layers ``nce_layers``."""
        return self.generator.features(self.encodable(image), self.config.nce_layers)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """One stage: in each step the discriminator learns, then generator and sampler together."""
        c = self.config
        steps = steps or c.steps
        discriminator, generator, sampler = self.module_names(ctx, "critic", "generator", "sampler")
        objective = partial(
            Objective,
            optimiser=ADAM,
            lr=constant_then_linear(c.lr, steps, round(c.decay * steps)),
            precision=ctx.precision,
        )
        objectives = (
            objective(updates=(discriminator,), loss=self._discriminator_loss),
            objective(updates=(generator, sampler), loss=self._generator_loss),
        )
        return (self.adversarial_stage(ctx, "cut", steps, objectives, shared=self._fakes),)

    def _fakes(self, batch: Batch) -> Shared:
        """Outputs of one pass of the generator over both modalities, mirrored together half of the time if set so."""
        c = self.config
        source, target = self.unpaired_images(batch)
        images = torch.cat([self.common(source), self.common(target)]) if c.nce_identity else self.common(source)
        turned = c.flip_equivariance and bool(torch.rand(1, generator=batch.generator) < 0.5)
        fakes = self.generator(images.flip(-1) if turned else images)
        fake, identity = fakes.chunk(2) if c.nce_identity else (fakes, None)
        return {"source": source, "target": target, "fake": fake, "identity": identity, "turned": turned}

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        real, fake = self.critic(shared["target"]), self.critic(shared["fake"].detach())
        return {"loss": 0.5 * discriminator_loss(real, fake, self.config.gan)}

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c = self.config
        adversarial = generator_loss(self.critic(shared["fake"]), c.gan)
        nce = self._nce(batch, shared["source"], shared["fake"], shared["turned"])
        losses = {"gan": adversarial, "nce": nce}
        if c.nce_identity:
            losses["nce_identity"] = self._nce(batch, shared["target"], shared["identity"], shared["turned"])
            nce = 0.5 * (nce + losses["nce_identity"])
        return {"loss": c.lambda_gan * adversarial + c.lambda_nce * nce, **losses}

    def _nce(self, batch: Batch, image: Tensor, translation: Tensor, turned: bool) -> Tensor:
        """PatchNCE of a translation's patches, mirrored back if ``turned``, against the image's; mean over layers."""
        c = self.config
        with torch.no_grad():
            keys = self.generator.features(self.common(image), c.nce_layers)
        queries = self.generator.features(self.common(translation), c.nce_layers)
        if turned:
            queries = [query.flip(-1) for query in queries]
        return self.sampler.contrast(queries, keys, batch.generator, c.temperature)
