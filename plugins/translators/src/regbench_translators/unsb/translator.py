"""UNSB: the unpaired neural Schroedinger bridge (Kim et al. 2024).

A bridge of five times leads from the source to the target distribution. One generator guesses its end from any of
them. A discriminator judges the guesses at each time, an energy critic keeps the joint distribution of a state and its
guess rich (the entropy of the bridge), and PatchNCE keeps content in place. Each step draws one time for the whole
batch and gets there without gradient; then discriminator, energy critic, and generator with patch sampler learn in
this order.

A translation walks the bridge, five passes of the generator by default, and is random: noise and codes come from the
generator that is given. ``nfe`` passes can be fewer; the authors find that the last ones translate too much on some
sets.

As published: the energy's logsumexp is over patches and batch together, so its offset depends on both; ``lambda_sb`` is
1, as in the authors' own command (their code's default is 0.1); PatchNCE is read at step 0 with a code of its own. The
schedule is 200 + 200 epochs, counted in images of horse2zebra (1334 an epoch). ``block`` is explained in
:mod:`regbench_translators.unsb.networks`. One difference: ``lambda_nce`` counts once, where the published code applies
it twice; its published value is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from regbench import Batch, Context, Objective, PairInfo, Shared, Stage, whole_batch
from regbench.ops import PatchSampler, check_patchgan
from regbench.schedules import constant_then_linear
from regbench_translators.blocks.base import ADAM, ImageTranslator
from regbench_translators.blocks.contrastive import SMALL, ContrastiveConfig
from regbench_translators.blocks.gan import critic_loss, generator_loss
from regbench_translators.blocks.initial import initialise
from regbench_translators.blocks.resnet import check_taps
from regbench_translators.unsb.bridge import simulate, time_grid
from regbench_translators.unsb.networks import BlockKind, BridgeCritic, BridgeGenerator, LatentAffine


class UNSBConfig(ContrastiveConfig):
    """Defaults are the published ones."""

    block: BlockKind = Field("intended", description="conditional block: as meant, or as in the released code")
    times: int = Field(5, ge=2, description="steps of the bridge (T)")
    nfe: int | None = Field(None, ge=1, description="passes of the generator in a translation; all times by default")
    tau: float = Field(0.01, ge=0, description="temperature of the bridge")
    lambda_sb: float = Field(1.0, ge=0)

    presets = {
        "quick": {
            "steps": 440, "batch": 2, "width": 16, "blocks": 3, "critic_width": 16, "lr": 5e-4, "times": 3,
            "nce_layers": (0, 4, 8, 12), "codes": 64, "patches": 64,
        },
        "smoke": SMALL | {"steps": 6, "batch": 2},
        "tiny": SMALL | {"steps": 4, "batch": 2, "width": 4, "times": 3},
    }  # fmt: skip


class UNSB(ImageTranslator):
    """Generator, patch sampler, discriminator, energy critic.

    Raises:
        ValueError: a layer of ``nce_layers`` is not there, the patch is too small for the discriminator, or ``nfe``
            is more than the bridge has times.
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
        self.critic = BridgeCritic(info.target_channels, c.critic_width, c.critic_layers)
        self.energy = BridgeCritic(4 * self.common_channels, c.critic_width, c.critic_layers)
        initialise(self, "xavier")
        for module in self.modules():
            if isinstance(module, LatentAffine):
                module.reset()

    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """Walk the bridge; the target is not looked at. The last guess is the translation."""

        def noise(like: Tensor) -> Tensor:
            found = whole_batch.draw(lambda n: torch.randn(n, *like.shape[1:], generator=generator), len(like))
            return found.to(like.device, like.dtype, non_blocking=True)

        last = self.passes - 1
        state = simulate(self.common(source), last, self.times, self.config.tau, self._guess(noise), noise)
        return self._guess(noise, common=False)(state, last)

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """Of the generator's layers ``nce_layers`` at step 0, with a code of ones.

        A drawn code would make two calls differ; this one has the length that all codes are scaled to.
        """
        image = self.encodable(image)
        ones = image.new_ones(len(image), self.generator.latent)
        return self.generator.features(image, _steps(image, 0), ones, self.config.nce_layers)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """Discriminator, energy critic, generator with sampler; two images of each modality for one sample."""
        c = self.config
        steps = steps or c.steps
        lr = constant_then_linear(c.lr, steps, round(c.decay * steps))
        critic, energy, generator, sampler = self.parts(ctx, "critic", "energy", "generator", "sampler")
        objectives = (
            Objective((critic,), self._critic_loss, ADAM, lr, precision=ctx.precision),
            Objective((energy,), self._energy_loss, ADAM, lr, precision=ctx.precision),
            Objective((generator, sampler), self._generator_loss, ADAM, lr, precision=ctx.precision),
        )
        stage = self.adversarial_stage(
            ctx, "unsb", steps, objectives, self._walk, batch=2 * c.batch, parts=2
        )  # the length of the walk is drawn
        return (stage,)

    def _guess(self, noise: Callable[[Tensor], Tensor], common: bool = True) -> Callable[[Tensor, int], Tensor]:
        """The generator at a step, with a new code; at the channels of the bridge unless told otherwise."""

        def guess(state: Tensor, number: int) -> Tensor:
            z = noise(state.new_empty(len(state), self.generator.latent))
            found = self.generator(state, _steps(state, number), z)
            return self.common(found) if common else found

        return guess

    def _walk(self, batch: Batch) -> Shared:
        """States of two independent batches at one drawn time, and the guesses from there with gradient."""
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
        found = self._guess(batch.noise, common=False)(state, number)
        fakes = found.split(half)
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

    def _critic_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        step = _steps(shared["target"], shared["number"])
        real, fake = self.critic(shared["target"], step), self.critic(shared["fake"].detach(), step)
        return {"loss": 0.5 * critic_loss(real, fake, self.config.gan)}

    def _energy_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """The critic's dual estimate of the entropy of (x_t, x_1); the square keeps its offset in place."""
        own, across = self._energies(*(joint.detach() for joint in shared["joint"]), shared["number"])
        return {"loss": -own + across + across.square()}

    def _energies(self, first: Tensor, second: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Mean energy of a joint state with itself, and logsumexp of its energies with another."""
        step = _steps(first, number)
        own = self.energy(torch.cat([first, first], dim=1), step).mean()
        across = self.energy(torch.cat([first, second], dim=1), step)
        return own, whole_batch.gather(across.float()).flatten().logsumexp(dim=0)

    def _generator_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        c, number, fake = self.config, shared["number"], shared["fake"]
        adversarial = generator_loss(self.critic(fake, _steps(fake, number)), c.gan)
        own, across = self._energies(*shared["joint"], number)
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
        step = _steps(image, 0)
        with torch.no_grad():
            kept = self.generator.features(image, step, z, c.nce_layers)
        found = self.generator.features(self.common(translation), step, z, c.nce_layers)
        return self.sampler.contrast(found, kept, batch.generator, c.temperature)


def _steps(like: Tensor, number: int) -> Tensor:
    """The same step number for every image of a batch, ``(B,)``."""
    return torch.full((len(like),), number, device=like.device)
