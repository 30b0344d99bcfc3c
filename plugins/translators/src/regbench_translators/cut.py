"""CUT and FastCUT: contrastive unpaired translation (Park et al. 2020).

One generator, one discriminator. The generator's own encoder tells each patch of the translation from the others by
its patch of the input (PatchNCE), so that content stays in place; applied to target images it is a learned identity
loss. FastCUT (the name ``fastcut``, other defaults) leaves that second half out, weighs the first by 10 and mirrors its
input half of the time.

In each step the discriminator learns first, then generator and patch sampler together. The schedule is the published
200 + 200 epochs (FastCUT 150 + 50), counted in images of horse2zebra (1334 an epoch). The published resize to 286 and
crop to 256 is the sampler's random window here.

Layer 0 is the padded image itself: of a grey image its codes can hold intensity alone, as in the published code. The
encoder meets both modalities, so it reads as many channels as the richer of the two has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage
from regbench.ops import PatchGAN, PatchSampler, check_patchgan
from regbench.schedules import constant_then_linear
from regbench_translators.blocks.base import ADAM, ImageTranslator
from regbench_translators.blocks.contrastive import SMALL, ContrastiveConfig
from regbench_translators.blocks.gan import critic_loss, generator_loss
from regbench_translators.blocks.initial import initialise
from regbench_translators.blocks.resnet import ResNetGenerator, check_taps


class CUTConfig(ContrastiveConfig):
    """Defaults are CUT's published ones."""

    antialias: bool = Field(True, description="blurred sampling; without it the layers are numbered otherwise")
    flip_equivariance: bool = Field(False, description="mirror the generator's input half of the time, not the keys")

    presets = {
        "quick": {
            "steps": 440, "batch": 2, "width": 16, "blocks": 5, "critic_width": 16, "lr": 5e-4, "codes": 64,
            "patches": 64,
        },
        "smoke": SMALL | {"steps": 6, "batch": 2},
        "tiny": SMALL | {"steps": 4, "batch": 2, "width": 4},
    }  # fmt: skip


class CUT(ImageTranslator):
    """Generator, patch sampler, discriminator.

    Raises:
        ValueError: a layer of ``nce_layers`` is not there, or the patch is too small for the discriminator.
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
        """One pass of the generator; the target is not looked at."""
        return self.generator(self.common(source))

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Of the generator's layers ``nce_layers``."""
        return self.generator.features(self.encodable(image), self.config.nce_layers)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """The discriminator, then generator and sampler, in each step."""
        c = self.config
        steps = steps or c.steps
        lr = constant_then_linear(c.lr, steps, round(c.decay * steps))
        critic, generator, sampler = self.parts(ctx, "critic", "generator", "sampler")
        objectives = (
            Objective((critic,), self._critic_loss, ADAM, lr, precision=ctx.precision),
            Objective((generator, sampler), self._generator_loss, ADAM, lr, precision=ctx.precision),
        )
        return (self.adversarial_stage(ctx, "cut", steps, objectives, self._fakes),)

    def _fakes(self, batch: Batch) -> Shared:
        """Both modalities in one pass of the generator, mirrored together where equivariance asks for it."""
        c = self.config
        source, target = self.unpaired_images(batch)
        images = torch.cat([self.common(source), self.common(target)]) if c.nce_identity else self.common(source)
        turned = c.flip_equivariance and bool(torch.rand(1, generator=batch.generator) < 0.5)
        fakes = self.generator(images.flip(-1) if turned else images)
        fake, identity = fakes.chunk(2) if c.nce_identity else (fakes, None)
        return {"source": source, "target": target, "fake": fake, "identity": identity, "turned": turned}

    def _critic_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        real, fake = self.critic(shared["target"]), self.critic(shared["fake"].detach())
        return {"loss": 0.5 * critic_loss(real, fake, self.config.gan)}

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
        """PatchNCE of a translation's patches, turned back, against those of the image; mean over layers."""
        c = self.config
        with torch.no_grad():
            kept = self.generator.features(self.common(image), c.nce_layers)
        found = self.generator.features(self.common(translation), c.nce_layers)
        return self.sampler.contrast(
            [f.flip(-1) for f in found] if turned else found, kept, batch.generator, c.temperature
        )
