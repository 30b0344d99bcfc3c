"""MIMGCD: MIM-guided conditional diffusion (CoLReg, sec. 3.2.1 and 3.2.4).

The network learns, from target images alone, to redraw a reference image in the geometry that a maximum index map
gives. At inference the map is the source's and the reference an unaligned target image, so that the result shows the
source's geometry in the target's modality; one evaluation of the U-Net does it (Tweedie), no sampler.

Round 0 trains the U-Net (eqs. 5-11). Each later round, with pairs aligned by the current registrator, trains the
target's MIM encoder (eq. 12), the U-Net with that encoder's maps, and the source's encoder through the frozen U-Net
(eqs. 14-16), in the order of Algorithm 1.

Readings of what the paper leaves open, each an option: t2 is drawn from U[300, 599] in training and 450 at inference;
one noise for t1 and t2 (eq. 5 as written); losses are means over all elements; the U-Net is 64 x (1, 2, 3, 4); maps are
the value MIM; the second term of eq. 16 is L_mds. Grey targets are one channel inside: three channels with noise of
their own would let the network average the noise away and copy the target's geometry.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Estimate,
    Objective,
    PairInfo,
    Shared,
    Stage,
    Steps,
    Translator,
    geometry,
    whole_batch,
)
from regbench.ops import maximum_index_map, to_grey
from regbench.schedules import constant
from regbench_translators.mimgcd.diffusion import Schedule
from regbench_translators.mimgcd.encoder import MIMEncoder
from regbench_translators.mimgcd.unet import UNet

_ADAM = partial(torch.optim.Adam, betas=(0.9, 0.999))
_TINY = {"base": 16, "multipliers": (1, 2, 4), "blocks": 1, "attention": False, "encoder": (8, 16, 32), "batch": 8}


class MIMGCDConfig(ComponentConfig):
    """Defaults are the paper's numbers where it gives one, and the readings above where it does not."""

    steps: Steps = Field(600_000, ge=1, description="of the U-Net in round 0")
    refine_steps: Steps = Field(60_000, ge=1, description="of the U-Net in each later round")
    encoder_steps: Steps = Field(30_000, ge=1, description="of each MIM encoder in each later round")
    batch: int = Field(16, ge=1, description="pairs a step; the U-Net sees twice as many images")
    lr: float = Field(2.5e-4, gt=0, description="of the U-Net in round 0")
    refine_lr: float = Field(1e-4, gt=0, description="of the U-Net in later rounds")
    encoder_lr: float = Field(2e-4, gt=0, description="of the encoders")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float = Field(0.9999, ge=0, lt=1, description="of the U-Net's weights; 0.995 below 5000 steps")
    mim: Literal["value", "index", "vector"] = Field("value", description="kind of maximum index map")
    prediction: Literal["eps", "v"] = Field("eps", description="what the U-Net predicts")
    t1_high: int = Field(999, ge=0, le=999, description="largest noise step of the denoising pass in training")
    t2_low: int = Field(300, ge=0, le=999, description="least noise step of the translating pass in training")
    t2_high: int = Field(599, ge=0, le=999, description="largest noise step of the translating pass in training")
    t2: int = Field(450, ge=0, le=999, description="noise step at inference")
    same_noise: bool = Field(True, description="one noise for both passes (eq. 5 as written)")
    erode: int = Field(12, ge=0, description="px taken off the mask of warped images, whose MIM is wrong at the rim")
    lambda_mms: float = Field(1.0, ge=0, description="weight of L_mms in eq. 16")
    base: int = Field(64, ge=8, description="channels of the U-Net's first level")
    multipliers: tuple[int, ...] = Field((1, 2, 3, 4), description="channels of each level in units of base")
    blocks: int = Field(2, ge=1, description="residual blocks a level")
    attention: bool = Field(True, description="attention at an eighth of the patch and in the middle")
    dropout: float = Field(0.0, ge=0, lt=1)
    reduce: Literal[1, 2, 4] = Field(1, description="translate images reduced so many times (short presets)")
    encoder: tuple[int, int, int] = Field((32, 64, 128), description="channels of the MIM encoders")

    presets = {
        "small": {"base": 32, "multipliers": (1, 2, 4, 4)},
        "quick": _TINY | {
            "steps": 110, "refine_steps": 40, "encoder_steps": 40, "lr": 1e-3, "refine_lr": 5e-4, "encoder_lr": 2e-3,
            "erode": 3, "prediction": "v", "reduce": 2,
        },
        "smoke": _TINY | {"steps": 6, "refine_steps": 3, "encoder_steps": 3, "batch": 4, "erode": 3, "reduce": 2},
        "tiny": _TINY | {"steps": 4, "refine_steps": 2, "encoder_steps": 2, "base": 8, "batch": 2, "erode": 4},
    }  # fmt: skip


class MIMGCD(Translator):
    """The diffusion network, both MIM encoders, and how they learn.

    Raises:
        ValueError: the patch does not halve often enough for the U-Net, or the range of t2 is empty.
    """

    Config = MIMGCDConfig
    learned: Tensor

    def __init__(self, config: MIMGCDConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        unit = config.reduce * max(2 ** (len(config.multipliers) - 1), 4)
        if info.patch % unit:
            raise ValueError(f"MIMGCD's U-Net needs a patch that is a multiple of {unit}, got {info.patch}")
        if config.t2_low > config.t2_high:
            raise ValueError(f"t2_low={config.t2_low} lies above t2_high={config.t2_high}")
        self.channels = info.target_channels
        maps = 2 if config.mim == "vector" else 1
        self.schedule = Schedule()
        self.unet = UNet(
            2 * self.channels + maps, self.channels, config.base, config.multipliers, config.blocks, config.attention,
            config.dropout,
        )  # fmt: skip
        self.source_encoder = MIMEncoder(maps, config.encoder)
        self.target_encoder = MIMEncoder(maps, config.encoder)
        self.anchor = MIMEncoder(maps, config.encoder)  # source_encoder of the round before, frozen
        # Which maps guide it, saved with the weights: 0 handcrafted, 1 the source encoder's.
        self.register_buffer("learned", torch.zeros((), dtype=torch.uint8))
        self._guided_by_encoder = False
        self.register_load_state_dict_post_hook(MIMGCD._read_flag)

    def _read_flag(self, _: object = None) -> None:
        self._guided_by_encoder = bool(self.learned)  # read once here, never within a step

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """One pass of the U-Net at step t2 (eqs. 9 and 14), clamped to [0, 1]; ``(B, 3, H, W)``."""
        image = self._inside(self._reduced(target))
        step = torch.full((len(image),), self.config.t2, device=image.device)
        noise = whole_batch.draw(lambda n: torch.randn(n, *image.shape[1:], generator=generator), len(image)).to(
            image.device
        )
        found = self._redraw(image, self.source_map(self._reduced(source)), noise, step)
        return self._outside(found.clamp(-1, 1))

    def source_map(self, source: Tensor) -> Tensor:
        """The map that guides the translation of a (reduced) source, ``(B, M, H, W)`` in [-1, 1]."""
        return self.source_encoder(2 * to_grey(source) - 1) if self._guided_by_encoder else self._handcrafted(source)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """Round 0: the U-Net from target images alone, guided by handcrafted maps."""
        c = self.config
        return (self._unet_stage(ctx, "mimgcd", steps or c.steps, c.lr, self._handcrafted),)

    def aligned_stages(self, ctx: Context, round: int, estimate: Estimate) -> tuple[Stage, ...]:
        """A later round: target encoder, U-Net, source encoder (Algorithm 1, lines 7 to 15)."""
        c, role = self.config, self.role(ctx)

        def begin_target() -> None:
            if round > 1:  # the source's weights, as sec. 3.2.4 says; round 1 starts at random
                self.anchor.load_state_dict(self.source_encoder.state_dict())
                self.target_encoder.load_state_dict(self.source_encoder.state_dict())

        def begin_source() -> None:
            self.source_encoder.load_state_dict(self.target_encoder.state_dict())
            self.learned.fill_(1)
            self._read_flag()

        def reference_map(source: Tensor) -> Tensor:
            """What the source's map was in the round before; frozen."""
            with torch.no_grad():
                return self._handcrafted(source) if round == 1 else self.anchor(2 * to_grey(source) - 1)

        def pair_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
            """Reduced source and target, and the current estimate between them."""
            source, target = batch.pair.source, batch.pair.target
            with torch.no_grad():
                h = estimate(source, target)
            before = _size(source)
            source, target = self._reduced(source), self._reduced(target)
            sizes = (before, _size(source))
            return source, target, geometry.rescale(h, sizes, sizes)

        def target_loss(batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
            source, target, h = pair_of(batch)
            with torch.no_grad():
                moved = geometry.warp(reference_map(source), h, padding="border")
                mask = eroded(_covered(geometry.invert(h), source), c.erode)
            found = self.target_encoder(2 * to_grey(target) - 1)
            return {"loss": ((moved - found).abs() * mask).mean(), "mask": mask.mean()}

        def source_loss(batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
            source, target, h = pair_of(batch)
            image = self._inside(target)
            with torch.no_grad():
                aligned = geometry.sample(image, h, padding="border")  # the target in the source's frame
                mask = eroded(_covered(h, source), c.erode)
            encoded = self.source_encoder(2 * to_grey(source) - 1)
            step = torch.full((len(image),), c.t2, device=image.device)
            redrawn = self._redraw(image, encoded, batch.noise(image), step)
            l_mds = ((redrawn - aligned).abs() * mask).mean()
            l_mms = (reference_map(source) - encoded).abs().mean()
            spread = whole_batch.gather(encoded.detach()).std()
            return {"loss": l_mds + c.lambda_mms * l_mms, "l_mds": l_mds, "l_mms": l_mms, "spread": spread}

        def encoder_stage(name: str, part: str, loss, begin) -> Stage:  # type: ignore[no-untyped-def]
            objective = Objective((f"{role}.{part}",), loss, _ADAM, constant(c.encoder_lr), clip=c.clip)
            modules = {role: self, f"{role}.{part}": getattr(self, part)}
            return Stage(f"{name}-{round}", c.encoder_steps, c.batch, ("pair",), (objective,), modules, begin=begin)

        def learned_map(target: Tensor) -> Tensor:
            with torch.no_grad():
                return self.target_encoder(2 * to_grey(target) - 1)

        return (
            encoder_stage("target-encoder", "target_encoder", target_loss, begin_target),
            self._unet_stage(ctx, f"mimgcd-{round}", c.refine_steps, c.refine_lr, learned_map),
            encoder_stage("source-encoder", "source_encoder", source_loss, begin_source),
        )

    def _unet_stage(self, ctx: Context, name: str, steps: int, lr: float, map_of) -> Stage:  # type: ignore[no-untyped-def]
        c, role = self.config, self.role(ctx)
        objective = Objective(
            (f"{role}.unet",),
            partial(self._diffusion_loss, map_of=map_of),
            _ADAM,
            constant(lr),
            clip=c.clip,
            ema=c.ema if steps >= 5000 else min(c.ema, 0.995),
            precision=ctx.precision,
        )
        modules = {role: self, f"{role}.unet": self.unet}
        return Stage(name, steps, c.batch, ("self_target",), (objective,), modules)

    def _diffusion_loss(self, batch: Batch, shared: Shared, map_of) -> Mapping[str, Tensor]:  # type: ignore[no-untyped-def]
        """L_n + L_t (eqs. 8, 10, 11): both reverse passes, in one pass of the U-Net over 2B images."""
        c, pair = self.config, batch.self_target
        own, moved = self._reduced(pair.image), self._reduced(pair.warped)
        image, warped = self._inside(own), self._inside(moved)
        b = len(image)
        t1 = whole_batch.draw(lambda n: torch.randint(0, c.t1_high + 1, (n,), generator=batch.generator), b).to(
            image.device
        )
        t2 = whole_batch.draw(lambda n: torch.randint(c.t2_low, c.t2_high + 1, (n,), generator=batch.generator), b)
        t2 = t2.to(image.device)
        noise1 = batch.noise(image)
        noise2 = noise1 if c.same_noise else batch.noise(image)
        noisy1, noisy2 = self.schedule.noised(image, noise1, t1), self.schedule.noised(image, noise2, t2)
        # Denoise x in its own geometry beside a misaligned reference; redraw x in the geometry of its warp.
        first = torch.cat([noisy1, warped, map_of(own)], dim=1)
        second = torch.cat([noisy2, image, map_of(moved)], dim=1)
        p1, p2 = self.unet(torch.cat([first, second]), torch.cat([t1, t2])).chunk(2)
        l_n = (self.schedule.noise(noisy1, p1, t1, c.prediction) - noise1).abs().mean()
        redrawn = self.schedule.clean(noisy2, p2, t2, c.prediction)
        mask = (self._reduced(pair.mask) > 0.999).float()
        l_t = ((warped - redrawn).abs() * eroded(mask, c.erode)).mean()
        return {"loss": l_n + l_t, "l_n": l_n, "l_t": l_t}

    def _redraw(self, image: Tensor, guide: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """``image`` redrawn in the geometry of ``guide``, by one step from noise level ``step``."""
        noisy = self.schedule.noised(image, noise, step)
        predicted = self.unet(torch.cat([noisy, image, guide], dim=1), step)
        return self.schedule.clean(noisy, predicted, step, self.config.prediction)

    def _handcrafted(self, image: Tensor) -> Tensor:
        return maximum_index_map(image, self.config.mim)

    def _inside(self, image: Tensor) -> Tensor:
        """[0, 1] to [-1, 1], one channel where the target is grey."""
        return 2 * image[:, : self.channels] - 1

    def _reduced(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, self.config.reduce) if self.config.reduce > 1 else image

    def _outside(self, image: Tensor) -> Tensor:
        """[-1, 1] to [0, 1], three channels, the full size."""
        image = ((image + 1) / 2).expand(-1, 3, -1, -1)
        if self.config.reduce == 1:
            return image
        return F.interpolate(image, scale_factor=float(self.config.reduce), mode="bilinear", align_corners=False)


def _size(image: Tensor) -> geometry.Size:
    return (image.shape[-2], image.shape[-1])


def _covered(backward: Tensor, like: Tensor) -> Tensor:
    """Where ``sample(x, backward)`` finds its pixel inside x, ``(B, 1, H, W)``."""
    return geometry.inside(backward, _size(like), _size(like))


def eroded(mask: Tensor, pixels: int) -> Tensor:
    """Take ``pixels`` off the rim of a 0/1 mask ``(B, 1, H, W)``; the border of the image is no rim."""
    if pixels == 0:
        return mask
    return 1 - F.max_pool2d(1 - mask, 2 * pixels + 1, stride=1, padding=pixels)
