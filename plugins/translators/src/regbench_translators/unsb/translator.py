"""UNSB: the unpaired neural Schroedinger bridge (Kim et al. 2024).

A bridge of five times leads from the source to the target distribution, and one generator guesses the bridge's end from
any of them. A discriminator judges the guesses at each time, an energy network estimates the entropy of the bridge (of
the joint distribution of a state and its guess), and PatchNCE keeps content in place. Each training step draws one time
for the whole batch and walks there without gradient. Then discriminator, energy network, and generator with patch
sampler learn in this order.

A translation walks the bridge in five passes of the generator by default. It is random: noise and codes are drawn. With
``nfe`` it takes fewer passes; the authors find that the last passes translate too much on some data sets.

As published, the energy's logsumexp runs over patches and batch together, so that its offset depends on both;
``lambda_sb`` is 1 as in the authors' command (their code's default is 0.1); PatchNCE reads features at step 0 with a
code of its own; and the schedule is 200 + 200 epochs, counted in images of horse2zebra (1334 an epoch). ``block`` is
explained in :mod:`regbench_translators.unsb.networks`. One thing differs: ``lambda_nce`` counts once, whereas the
published code applies it twice; its published value is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage, whole_batch
from regbench.ops import PatchSampler, check_patchgan, discriminator_loss, generator_loss
from regbench.schedules import constant_then_linear
from regbench_translators.blocks.base import ADAM, ImageTranslator
from regbench_translators.blocks.contrastive import ContrastiveConfig
from regbench_translators.blocks.draws import normal_noise, same_step
from regbench_translators.blocks.initial import initialise
from regbench_translators.blocks.resnet import check_taps
from regbench_translators.presets import UNSB_PRESETS
from regbench_translators.unsb.bridge import simulate, time_grid
from regbench_translators.unsb.networks import BlockKind, BridgeDiscriminator, BridgeGenerator, LatentAffine


class UNSBConfig(ContrastiveConfig):
    """The defaults are the published ones."""

    block: BlockKind = Field("intended", description="conditional block: as intended, or as in the released code")
    times: int = Field(5, ge=2, description="steps of the bridge (T)")
    nfe: int | None = Field(None, ge=1, description="passes of the generator in a translation; all times by default")
    tau: float = Field(0.01, ge=0, description="temperature of the bridge")
    lambda_sb: float = Field(1.0, ge=0)

    presets = UNSB_PRESETS


class UNSB(ImageTranslator):
    """Generator, patch sampler, discriminator and energy network.

    Raises:
        ValueError: a layer of ``nce_layers`` does not exist, the patch is too small for the discriminator, or ``nfe``
            is larger than ``times``.
    """

    Config = UNSBConfig
    config: UNSBConfig

    def __init__(self, config: UNSBConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        c = config
        check_patchgan(info.patch, c.critic_layers)
        self.passes = c.nfe or c.times
        if self.passes > c.times:
            raise ValueError(f"nfe={c.nfe} passes are more than times={c.times}; take fewer passes or more times")
        self.times = time_grid(c.times)
        self.generator = BridgeGenerator(self.common_channels, info.target_channels, c.width, c.blocks, c.block)
        check_taps(c.nce_layers, len(self.generator.encoder))
        self.sampler = PatchSampler([self.generator.channels[i] for i in c.nce_layers], c.codes, c.patches)
        self.critic = BridgeDiscriminator(info.target_channels, c.critic_width, c.critic_layers)
        self.energy = BridgeDiscriminator(4 * self.common_channels, c.critic_width, c.critic_layers)
        initialise(self, "xavier")
        for module in self.modules():
            if isinstance(module, LatentAffine):
                module.reset()

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """Walk the bridge, without looking at the target; the last guess is the translation."""
        noise = partial(normal_noise, generator=generator)
        last = self.passes - 1
        state = simulate(self.common(source), last, self.times, self.config.tau, self._guess(noise), noise)
        return self._guess(noise, replicate=False)(state, last)

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Features of the generator's layers ``nce_layers`` at step 0, with a code of ones.

        With a random code, two calls would differ. All codes are scaled to the mean square that ones have.
        """
        image = self.encodable(image)
        ones = image.new_ones(len(image), self.generator.latent)
        return self.generator.features(image, same_step(image, 0), ones, self.config.nce_layers)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """One stage: in each step discriminator, energy network, then generator and sampler together.

        A sample is two images of each modality.
        """
        c = self.config
        steps = steps or c.steps
        discriminator, energy, generator, sampler = self.module_names(ctx, "critic", "energy", "generator", "sampler")
        objective = partial(
            Objective,
            optimiser=ADAM,
            lr=constant_then_linear(c.lr, steps, round(c.decay * steps)),
            precision=ctx.precision,
        )
        objectives = (
            objective(updates=(discriminator,), loss=self._discriminator_loss),
            objective(updates=(energy,), loss=self._energy_loss),
            objective(updates=(generator, sampler), loss=self._generator_loss),
        )
        return (self.adversarial_stage(ctx, "unsb", steps, objectives, shared=self._walk, batch=2 * c.batch, parts=2),)

    def _guess(self, noise: Callable[[Tensor], Tensor], replicate: bool = True) -> Callable[[Tensor, int], Tensor]:
        """The generator as a function of state and step number, with a new code at every call.

        Its images have the bridge's channels, or those of the target if not ``replicate``.
        """

        def guess(state: Tensor, number: int) -> Tensor:
            z = noise(state.new_empty(len(state), self.generator.latent))
            image = self.generator(state, same_step(state, number), z)
            return self.common(image) if replicate else image

        return guess

    def _walk(self, batch: Batch) -> Shared:
        """States of the batch's two independent halves at one random time, and the guesses from there with gradient."""
        c = self.config
        source, target = self.unpaired_images(batch)
        half = len(source) // 2
        real = target[:half]
        starts = [self.common(source[:half]), self.common(source[half:])]
        if c.nce_identity:
            starts.append(self.common(real))
        number = int(torch.randint(0, c.times, (1,), generator=batch.generator))
        guess = self._guess(batch.noise)
        with torch.no_grad():
            state = simulate(torch.cat(starts), number, self.times, c.tau, guess, batch.noise)
        fakes = self._guess(batch.noise, replicate=False)(state, number).chunk(len(starts))
        first, second = (torch.cat([state[i * half : (i + 1) * half], self.common(fakes[i])], dim=1) for i in (0, 1))
        return {
            "number": number,
            "source": source[:half],
            "target": real,
            "state": state[:half],
            "fake": fakes[0],
            "identity": fakes[2] if c.nce_identity else None,
            "joint": (first, second),
        }

    def _discriminator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        step = same_step(shared["target"], shared["number"])
        real, fake = self.critic(shared["target"], step), self.critic(shared["fake"].detach(), step)
        return {"loss": 0.5 * discriminator_loss(real, fake, self.config.gan)}

    def _energy_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """Minus the dual estimate of the entropy of (x_t, x_1); the square keeps the energy's offset near zero."""
        first, second = shared["joint"]
        own, across = self._energies(first.detach(), second.detach(), shared["number"])
        return {"loss": -own + across + across.square()}

    def _energies(self, first: Tensor, second: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Mean energy of a joint state with itself, and logsumexp of its energies with another."""
        step = same_step(first, number)
        own = self.energy(torch.cat([first, first], dim=1), step).mean()
        across = self.energy(torch.cat([first, second], dim=1), step)
        return own, whole_batch.gather(across.float()).flatten().logsumexp(dim=0)

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c, number, fake = self.config, shared["number"], shared["fake"]
        adversarial = generator_loss(self.critic(fake, same_step(fake, number)), c.gan)
        first, second = shared["joint"]
        own, across = self._energies(first, second, number)
        transport = (shared["state"] - self.common(fake)).square().mean()
        bridge = c.tau * (transport - (c.times - number) / c.times * (own - across))
        nce = self._nce(batch, shared["source"], fake)
        losses = {"gan": adversarial, "sb": bridge, "nce": nce}
        if c.nce_identity:
            losses["nce_identity"] = self._nce(batch, shared["target"], shared["identity"])
            nce = 0.5 * (nce + losses["nce_identity"])
        return {"loss": c.lambda_gan * adversarial + c.lambda_sb * bridge + c.lambda_nce * nce, **losses}

    def _nce(self, batch: Batch, image: Tensor, translation: Tensor) -> Tensor:
        """PatchNCE of a translation's patches against those of the image, read at step 0 with one code."""
        c, image = self.config, self.common(image)
        z = batch.noise(image.new_empty(len(image), self.generator.latent))
        step = same_step(image, 0)
        with torch.no_grad():
            keys = self.generator.features(image, step, z, c.nce_layers)
        queries = self.generator.features(self.common(translation), step, z, c.nce_layers)
        return self.sampler.contrast(queries, keys, batch.generator, c.temperature)
