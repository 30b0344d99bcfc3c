"""MIMGCD: MIM-guided conditional diffusion (CoLReg, sec. 3.2.1 and 3.2.4).

The U-Net learns, from target images alone, to redraw a reference image in the geometry of a maximum index map (MIM). At
inference the map is that of the source and the reference is an unaligned target image, so that the result shows the
source's geometry in the target's modality. One evaluation of the U-Net suffices (Tweedie's estimate); there is no
sampler.

Round 0 trains the U-Net (eqs. 5-11). Each later round uses pairs aligned by the current registrator and trains, in the
order of Algorithm 1, the target's MIM encoder (eq. 12), the U-Net with that encoder's maps, and the source's MIM
encoder through the frozen U-Net (eqs. 14-16).

A grey target has one channel: with independent noise in three channels, the network could average the noise away and
copy the target's geometry. How the paper is read where it leaves something open is stated in
:mod:`regbench_translators.mimgcd.config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench import Batch, Context, Estimate, Objective, PairInfo, Shared, Stage, Translator, geometry, whole_batch
from regbench.ops import maximum_index_map, to_grey
from regbench.schedules import constant
from regbench_translators.blocks.draws import normal_noise, random_steps, same_step
from regbench_translators.mimgcd.config import MIMGCDConfig
from regbench_translators.mimgcd.diffusion import Schedule
from regbench_translators.mimgcd.encoder import MIMEncoder
from regbench_translators.mimgcd.unet import UNet

_ADAM = partial(torch.optim.Adam, betas=(0.9, 0.999))


_Loss = Callable[[Batch, Shared], Mapping[str, Tensor]]
_Map = Callable[[Tensor], Tensor]
"""A (reduced) image ``(B, 3, H, W)`` in [0, 1] to its map ``(B, M, H, W)`` in [-1, 1]."""


class MIMGCD(Translator):
    """The diffusion network and both MIM encoders.

    Raises:
        ValueError: the patch is not a multiple of what the U-Net needs.
    """

    Config = MIMGCDConfig
    config: MIMGCDConfig
    learned: Tensor

    def __init__(self, config: MIMGCDConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        unit = config.reduce * max(2 ** (len(config.multipliers) - 1), 4)
        if info.patch % unit:
            raise ValueError(f"MIMGCD's U-Net needs a patch that is a multiple of {unit}, got {info.patch}")
        self.channels = info.target_channels
        seen = 3 if config.mim_of == "channels" else 1
        maps = 2 * seen if config.mim == "vector" else seen
        self.schedule = Schedule(config.noise_steps, config.beta_first, config.beta_last)
        self.unet = UNet(
            inputs=2 * self.channels + maps,
            outputs=self.channels,
            base=config.base,
            multipliers=config.multipliers,
            blocks=config.blocks,
            attention=config.attention,
            dropout=config.dropout,
            group=config.norm_group,
        )
        encoder = partial(MIMEncoder, maps, config.encoder, seen, config.norm_group)
        self.source_encoder, self.target_encoder = encoder(), encoder()
        self.anchor = encoder()  # the previous round's source_encoder, frozen
        # Which maps guide the translation, saved with the weights: 0 handcrafted, 1 the source encoder's.
        self.register_buffer("learned", torch.zeros((), dtype=torch.uint8))
        self._guided_by_encoder = False
        self.register_load_state_dict_post_hook(MIMGCD._read_flag)  # type: ignore[no-untyped-call]

    def _read_flag(self, _: object = None) -> None:
        self._guided_by_encoder = bool(self.learned)  # read once, since reading a tensor's value stalls a GPU

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """One pass of the U-Net at step t2 (eqs. 9 and 14).

        Args:
            source: ``(B, 3, H, W)`` in [0, 1]; its map guides the translation.
            target: ``(B, 3, H, W)`` in [0, 1], unaligned; it is redrawn.
            generator: CPU generator of the noise.

        Returns:
            ``(B, 3, H, W)``, clamped to [0, 1].
        """
        reference = self._inside(self._reduced(target))
        step = same_step(reference, self.config.t2)
        noise = normal_noise(reference, generator)
        redrawn = self._redraw(reference, self.source_map(self._reduced(source)), noise, step)
        return self._outside(redrawn.clamp(-1, 1))

    def source_map(self, source: Tensor) -> Tensor:
        """The map that guides the translation of a (reduced) source, ``(B, M, H, W)`` in [-1, 1]."""
        return self._encoded(self.source_encoder, source) if self._guided_by_encoder else self._handcrafted(source)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """Round 0: the U-Net learns from target images alone, guided by handcrafted maps."""
        c = self.config
        return (self._unet_stage(ctx, "mimgcd", steps or c.steps, c.lr, self._handcrafted),)

    def aligned_stages(self, ctx: Context, round: int, estimate: Estimate) -> tuple[Stage, ...]:
        """A later round: target encoder, U-Net, source encoder (Algorithm 1, lines 7 to 15).

        Args:
            ctx: of the run.
            round: number of the round, from 1.
            estimate: the current registrator: unaligned source and target to homographies ``(B, 3, 3)``.
        """
        c = self.config
        first = round == 1
        source_map = _without_gradient(self._handcrafted if first else partial(self._encoded, self.anchor))
        target_map = _without_gradient(partial(self._encoded, self.target_encoder))
        return (
            self._encoder_stage(
                ctx,
                name=f"target-encoder-{round}",
                encoder="target_encoder",
                loss=partial(self._target_loss, estimate=estimate, source_map=source_map),
                begin=None if first else self._begin_target_encoder,
            ),
            self._unet_stage(ctx, f"mimgcd-{round}", c.refine_steps, c.refine_lr, target_map),
            self._encoder_stage(
                ctx,
                name=f"source-encoder-{round}",
                encoder="source_encoder",
                loss=partial(self._source_loss, estimate=estimate, source_map=source_map),
                begin=self._begin_source_encoder,
            ),
        )

    def _begin_target_encoder(self) -> None:
        """Start from the source encoder (sec. 3.2.4); in round 1 the target encoder starts from random weights."""
        self.anchor.load_state_dict(self.source_encoder.state_dict())
        self.target_encoder.load_state_dict(self.source_encoder.state_dict())

    def _begin_source_encoder(self) -> None:
        self.source_encoder.load_state_dict(self.target_encoder.state_dict())
        self.learned.fill_(1)
        self._read_flag()

    def _encoder_stage(
        self, ctx: Context, *, name: str, encoder: str, loss: _Loss, begin: Callable[[], None] | None
    ) -> Stage:
        """One of the MIM encoders learns from aligned pairs."""
        c, role = self.config, self.role(ctx)
        objective = Objective(
            updates=(f"{role}.{encoder}",),
            loss=loss,
            optimiser=_ADAM,
            lr=constant(c.encoder_lr),
            clip=c.clip,
            precision=ctx.precision,
        )
        return Stage(
            name=name,
            steps=c.encoder_steps,
            batch=c.batch,
            views=("pair",),
            objectives=(objective,),
            modules={role: self, f"{role}.{encoder}": self.get_submodule(encoder)},
            begin=begin,
        )

    def _aligned_pair(self, batch: Batch, estimate: Estimate) -> tuple[Tensor, Tensor, Tensor]:
        """Reduced source and target, and the estimated homography between them."""
        source, target = batch.pair.source, batch.pair.target
        with torch.no_grad():
            h = estimate(source, target)
        full_size = _size(source)
        source, target = self._reduced(source), self._reduced(target)
        sizes = (full_size, _size(source))
        return source, target, geometry.rescale(h, sizes, sizes)

    def _target_loss(self, batch: Batch, shared: Shared, estimate: Estimate, source_map: _Map) -> Mapping[str, Tensor]:
        """The target's encoder must give the map of the aligned source (eq. 12)."""
        source, target, h = self._aligned_pair(batch, estimate)
        with torch.no_grad():
            # The source's map in the target's frame. The mean of two indices is the index of a third orientation.
            mode = "nearest" if self.config.mim == "index" else "bilinear"
            aligned = geometry.warp(source_map(source), h, mode=mode, padding="border")
            mask = eroded(_covered(geometry.invert(h), source), self.config.erode)
        encoded = self._encoded(self.target_encoder, target)
        return {"loss": ((aligned - encoded).abs() * mask).mean(), "mask": mask.mean()}

    def _source_loss(self, batch: Batch, shared: Shared, estimate: Estimate, source_map: _Map) -> Mapping[str, Tensor]:
        """The source's encoder must guide the U-Net to the aligned target and stay near its last map (eqs. 14-16)."""
        c = self.config
        source, target, h = self._aligned_pair(batch, estimate)
        image = self._inside(target)
        with torch.no_grad():
            aligned = geometry.sample(image, h, padding="border")  # in the source's frame
            mask = eroded(_covered(h, source), c.erode)
        encoded = self._encoded(self.source_encoder, source)
        redrawn = self._redraw(image, encoded, batch.noise(image), same_step(image, c.t2))
        l_mds = ((redrawn - aligned).abs() * mask).mean()
        l_mms = (source_map(source) - encoded).abs().mean()
        spread = whole_batch.gather(encoded.detach()).std()
        return {"loss": l_mds + c.lambda_mms * l_mms, "l_mds": l_mds, "l_mms": l_mms, "spread": spread}

    def _unet_stage(self, ctx: Context, name: str, steps: int, lr: float, map_of: _Map) -> Stage:
        """The U-Net learns from target images alone, guided by the maps ``map_of`` gives."""
        c, role = self.config, self.role(ctx)
        objective = Objective(
            updates=(f"{role}.unet",),
            loss=partial(self._diffusion_loss, map_of=map_of),
            optimiser=_ADAM,
            lr=constant(lr),
            clip=c.clip,
            ema=c.ema if steps >= 5000 else min(c.ema, 0.995),
            precision=ctx.precision,
        )
        return Stage(
            name=name,
            steps=steps,
            batch=c.batch,
            views=("self_target",),
            objectives=(objective,),
            modules={role: self, f"{role}.unet": self.unet},
        )

    def _diffusion_loss(self, batch: Batch, shared: Shared, map_of: _Map) -> Mapping[str, Tensor]:
        """L_n + L_t (eqs. 8, 10, 11): both reverse passes, in one pass of the U-Net over 2B images."""
        c, pair = self.config, batch.self_target
        own, moved = self._reduced(pair.image), self._reduced(pair.warped)
        image, warped = self._inside(own), self._inside(moved)
        t1 = random_steps(image, 0, c.t1_high, batch.generator)
        t2 = random_steps(image, c.t2_low, c.t2_high, batch.generator)
        noise1 = batch.noise(image)
        noise2 = noise1 if c.same_noise else batch.noise(image)
        noisy1, noisy2 = self.schedule.noised(image, noise1, t1), self.schedule.noised(image, noise2, t2)
        # First pass: denoise x in its own geometry, beside a misaligned reference.
        # Second pass: redraw x in the geometry of its warp.
        first = torch.cat([noisy1, warped, map_of(own)], dim=1)
        second = torch.cat([noisy2, image, map_of(moved)], dim=1)
        p1, p2 = self.unet(torch.cat([first, second]), torch.cat([t1, t2])).chunk(2)
        l_n = (self.schedule.noise(noisy1, p1, t1, c.prediction) - noise1).abs().mean()
        redrawn = self.schedule.clean(noisy2, p2, t2, c.prediction)
        mask = (self._reduced(pair.mask) > 0.999).float()
        l_t = ((warped - redrawn).abs() * eroded(mask, c.erode)).mean()
        return {"loss": l_n + l_t, "l_n": l_n, "l_t": l_t}

    def _redraw(self, image: Tensor, guide: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """The image redrawn in the geometry of the map ``guide``, by one step from noise level ``step``."""
        noisy = self.schedule.noised(image, noise, step)
        predicted = self.unet(torch.cat([noisy, image, guide], dim=1), step)
        return self.schedule.clean(noisy, predicted, step, self.config.prediction)

    def _handcrafted(self, image: Tensor) -> Tensor:
        c = self.config
        bank = (c.mim_scales, c.mim_orientations, c.mim_wavelength, c.mim_ratio, c.mim_bandwidth)
        channels = image if c.mim_of == "channels" else to_grey(image)
        maps = maximum_index_map(channels.flatten(0, 1).unsqueeze(1), c.mim, *bank)  # (B * channels, 1 or 2, H, W)
        return maps.reshape(len(image), -1, *_size(image))

    def _encoded(self, encoder: nn.Module, image: Tensor) -> Tensor:
        """The map that an encoder gives for an image ``(B, 3, H, W)`` in [0, 1]."""
        return encoder(2 * (image if self.config.mim_of == "channels" else to_grey(image)) - 1)

    def _inside(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, target channels, H, W)`` in [-1, 1]."""
        return 2 * image[:, : self.channels] - 1

    def _reduced(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, self.config.reduce) if self.config.reduce > 1 else image

    def _outside(self, image: Tensor) -> Tensor:
        """``(B, target channels, h, w)`` in [-1, 1] to ``(B, 3, H, W)`` in [0, 1] at full size."""
        image = ((image + 1) / 2).expand(-1, 3, -1, -1)
        if self.config.reduce == 1:
            return image
        return F.interpolate(image, scale_factor=float(self.config.reduce), mode="bilinear", align_corners=False)


def _without_gradient(map_of: _Map) -> _Map:
    def without_gradient(image: Tensor) -> Tensor:
        with torch.no_grad():
            return map_of(image)

    return without_gradient


def _size(image: Tensor) -> geometry.Size:
    return (image.shape[-2], image.shape[-1])


def _covered(backward: Tensor, like: Tensor) -> Tensor:
    """1 where ``sample(x, backward)`` reads a pixel inside x, else 0: ``(B, 1, H, W)``."""
    return geometry.inside(backward, _size(like), _size(like))


def eroded(mask: Tensor, pixels: int) -> Tensor:
    """A 0/1 mask ``(B, 1, H, W)`` without ``pixels`` px around its holes; the border of the image is no hole."""
    if pixels == 0:
        return mask
    return 1 - F.max_pool2d(1 - mask, 2 * pixels + 1, stride=1, padding=pixels)
