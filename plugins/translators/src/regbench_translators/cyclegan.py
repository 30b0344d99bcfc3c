"""CycleGAN: unpaired translation by two generators that undo each other (Zhu et al. 2017).

The discriminator of a modality judges the generator that writes it. Each generator must turn the other's output back
into the original image (cycle loss) and leave an image of its own modality unchanged (identity loss). In each step the
generators learn first, then the discriminators, on fakes from a history of 50.

The schedule is the published 100 + 100 epochs, counted in images of horse2zebra (1334 an epoch). The sampler's random
window replaces the published resize to 286 and crop to 256.

When the modalities have different numbers of channels, both generators read as many as the richer one has: an image of
either modality fits, and the identity loss exists for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage, Steps
from regbench.ops import PatchGAN, check_patchgan, discriminator_loss, generator_loss
from regbench.schedules import constant_then_linear
from regbench_translators.blocks.base import ADAM, AdversarialConfig, ImageTranslator, total
from regbench_translators.blocks.initial import initialise
from regbench_translators.blocks.pool import ImagePool
from regbench_translators.blocks.resnet import ResNetGenerator, comparable
from regbench_translators.presets import CYCLEGAN_PRESETS


class CycleGANConfig(AdversarialConfig):
    """The defaults are the published ones."""

    steps: Steps = Field(266_800, ge=1, description="200 epochs of 1334 images")
    decay: float = Field(0.5, ge=0, le=1, description="last share of the steps, in which the rate falls to zero")
    blocks: int = Field(9, ge=1, description="residual blocks of each generator")
    critic_layers: int = Field(3, ge=1, description="halvings of each discriminator")
    antialias: bool = Field(False, description="blurred sampling, as in CUT's own CycleGAN")
    pool: int = Field(50, ge=0, description="fakes of each modality kept for its discriminator")
    lambda_cycle: float = Field(10.0, ge=0)
    lambda_identity: float = Field(0.5, ge=0, description="in units of lambda_cycle")

    presets = CYCLEGAN_PRESETS


class CycleGAN(ImageTranslator):
    """Two generators, and for each modality a discriminator and a history of fakes."""

    Config = CycleGANConfig
    config: CycleGANConfig

    def __init__(self, config: CycleGANConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        c, s, t = config, info.source_channels, info.target_channels
        check_patchgan(info.patch, c.critic_layers)

        def generator(outputs: int) -> ResNetGenerator:
            return ResNetGenerator(self.common_channels, outputs, c.width, c.blocks, c.antialias)

        def discriminator(channels: int) -> PatchGAN:
            return PatchGAN(channels, c.critic_width, c.critic_layers, c.antialias)

        self.generators = nn.ModuleDict({"to_target": generator(t), "to_source": generator(s)})
        self.critics = nn.ModuleDict({"source": discriminator(s), "target": discriminator(t)})
        sides = (info.patch, info.patch)
        self.history = nn.ModuleDict(
            {"source": ImagePool(c.pool, (s, *sides)), "target": ImagePool(c.pool, (t, *sides))}
        )
        initialise(self, "normal")

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """One pass of the generator, without looking at the target."""
        return self._to_target(source)

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Features of the generator that writes the target modality, at the layers CUT compares."""
        generator = self.generators["to_target"]
        assert isinstance(generator, ResNetGenerator)
        return generator.features(self.encodable(image), comparable(list(generator.encoder)))

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """One stage: in each step the generators learn, then the discriminators."""
        c = self.config
        steps = steps or c.steps
        generators, discriminators = self.module_names(ctx, "generators", "critics")
        objective = partial(
            Objective,
            optimiser=ADAM,
            lr=constant_then_linear(c.lr, steps, round(c.decay * steps)),
            precision=ctx.precision,
        )
        objectives = (
            objective(updates=(generators,), loss=self._generator_loss),
            objective(updates=(discriminators,), loss=self._discriminator_loss),
        )
        stage = self.adversarial_stage(ctx, "cyclegan", steps, objectives, shared=self._fakes, also_train=("history",))
        return (stage,)

    def _to_target(self, image: Tensor) -> Tensor:
        return self.generators["to_target"](self.common(image))

    def _to_source(self, image: Tensor) -> Tensor:
        return self.generators["to_source"](self.common(image))

    def _fakes(self, batch: Batch) -> Shared:
        source, target = self.unpaired_images(batch)
        return {
            "source": source,
            "target": target,
            "fake_source": self._to_source(target),
            "fake_target": self._to_target(source),
        }

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c, source, target = self.config, shared["source"], shared["target"]
        adversarial = total(
            generator_loss(self.critics[side](shared[f"fake_{side}"]), c.gan) for side in ("source", "target")
        )
        cycle = F.l1_loss(self._to_source(shared["fake_target"]), source) + F.l1_loss(
            self._to_target(shared["fake_source"]), target
        )
        losses = {"gan": adversarial, "cycle": cycle}
        loss = adversarial + c.lambda_cycle * cycle
        if c.lambda_identity:
            losses["identity"] = F.l1_loss(self._to_target(target), target) + F.l1_loss(self._to_source(source), source)
            loss = loss + c.lambda_identity * c.lambda_cycle * losses["identity"]
        return {"loss": loss, **losses}

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        losses = {}
        for side in ("source", "target"):
            history, discriminator = self.history[side], self.critics[side]
            assert isinstance(history, ImagePool)
            fake = history.swap(shared[f"fake_{side}"], batch.step, batch.generator)
            real_verdict, fake_verdict = discriminator(shared[side]), discriminator(fake)
            losses[side] = 0.5 * discriminator_loss(real_verdict, fake_verdict, self.config.gan)
        return {"loss": losses["source"] + losses["target"], **losses}
