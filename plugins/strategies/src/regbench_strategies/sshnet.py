"""SSHNet: unsupervised cross-modal homography by a split of the problem in two (Yu et al., CVPR 2025).

One step, one backward pass, two networks: a modality transfer network T and a registrator H.

* H learns from self-pairs, whose labels are known: of the target modality as they are, and of the source modality
  through T (the regulariser).
* T learns from the real, unaligned pair: its output, warped by H's estimate, should look like the target (L_pcp, a
  perceptual distance), also to H's own encoder (L_corr, one minus the mean cosine of its features).

The split is three stop-gradients: T's output is a constant to H, in both branches, and H's estimate is a constant to
the warp. So L_H reaches H alone and L_pcp T alone. Without the split (``split = False``, the paper's straight
optimisation) a homography that pushes everything out of sight lowers L_pcp: where the warped image is not seen both
images are black, and alike. ``reformulate = False`` also leaves out the self-pairs, so that the content loss alone
trains both networks (Table 1, first row). The other switches are those of Table 3 and of the code.

The published code differs from the paper in two ways: L_corr also reaches the encoder of H
(``corr_updates_registrator``), and images of [0, 1] are fed to an LPIPS made for [-1, 1] (``pcp_range``). All losses
have weight one. The gradient is clipped over both networks together, so that a young H, tens of pixels off, slows T
down (``clip_each`` clips each by itself). L_H is the sequence loss of the published code for every registrator
(``displacement_loss``). ``ihn-lite`` and ``mhn`` are registrators of the code; its RHWF is wider than ``rhwf1``. The
code draws the self-pairs at windows of their own; here they are made of the patches of the
pair itself. The code draws new unaligned pairs at every visit, which is ``--pairing online``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from regbench import (
    Batch,
    Context,
    DataError,
    Registrator,
    SelfPair,
    Shared,
    Stage,
    TrainingStrategy,
    UsageError,
    geometry,
)
from regbench.ops import Perceptual, lpips_files, lpips_vgg16, random_features, timm_features, timm_file
from regbench_strategies.blocks.displacement_loss import DisplacementLoss, displacement_loss
from regbench_strategies.blocks.jitter import jittered
from regbench_strategies.blocks.probes import spread_of
from regbench_strategies.blocks.recipe import RegistratorRecipe
from regbench_strategies.blocks.translate_first import TranslateFirst
from regbench_strategies.presets import SSHNET_PRESETS


class SSHNetConfig(RegistratorRecipe):
    """Defaults are the published code: AdamW, one-cycle over 120,000 steps of 16, everything switched on."""

    reformulate: bool = Field(True, description="H learns from self-pairs; False: from the content loss alone")
    split: bool = Field(True, description="the three stop-gradients; False: straight optimisation")
    regulariser: bool = Field(True, description="self-pairs of the source, through T, teach H too")
    pcp: Literal["lpips", "l1", "l2"] = Field(
        "lpips", description="L_pcp, the content loss between translation and target"
    )
    pcp_backend: str = Field(
        "vgg16", pattern=r"^(vgg16|random|timm:.+)$", description="features of lpips: vgg16, random or timm:NAME"
    )
    pcp_range: Literal["unit", "signed"] = Field("unit", description="what vgg16 is fed: [0, 1] (code) or [-1, 1]")
    pcp_weights: str | None = Field(
        None, description="folder of vgg16's two files, or file of timm's; unset: the caches of torch and Hugging Face"
    )
    corr: Literal["none", "corr", "pool_corr"] = Field(
        "corr", description="cosine of H's features, none, of all positions, or of means over 2 x 2"
    )
    corr_updates_registrator: bool = Field(
        True, description="L_corr reaches H's encoder (code); False: T alone (paper)"
    )
    jitter: bool = Field(True, description="brightness and sharpness of the self-pairs")
    displacement_loss: DisplacementLoss = Field("sequence", description="L_H: the published one, or the registrator's")
    clip_each: bool = Field(False, description="clip the gradients of T and of H apart rather than together")

    presets = SSHNET_PRESETS

    @model_validator(mode="after")
    def _something_trains_h(self) -> SSHNetConfig:
        if not self.reformulate and self.split:
            raise ValueError("reformulate=False leaves nothing that trains the registrator; also set split=False")
        return self


class SSHNet(TrainingStrategy):
    """One stage that trains translator and registrator together; the registrator behind the translator is deployed.

    Raises:
        UsageError: a correlation loss with a registrator that offers no features.
        DataError: when training starts, weights of the perceptual features are missing or broken.
    """

    Config = SSHNetConfig
    config: SSHNetConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """Registrator ∘ translator."""
        self.translator, self.registrator = ctx.translator("translator"), ctx.registrator("registrator")
        if self.config.corr != "none" and type(self.registrator).features is Registrator.features:
            raise UsageError(
                "sshnet: the correlation loss needs a registrator with features, which "
                f"{type(self.registrator).__name__} lacks; use --set strategy.corr=none"
            )
        self._features = _Features(self.registrator)
        self.whole = TranslateFirst(self.translator, self.registrator, ctx.info)
        return self.whole

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """``sshnet`` alone."""
        c = self.config
        learns = any(p.requires_grad for p in self.translator.parameters())  # ``identity`` has nothing to learn
        updates = ("translator", "registrator") if learns else ("registrator",)
        clipped_together = [(name,) for name in updates] if c.clip_each else [updates]
        stage = Stage(
            name="sshnet",
            steps=c.steps,
            batch=c.batch,
            views=("pair", *self._self_views()),
            objectives=tuple(c.objective(ctx, self._loss, names) for names in clipped_together),
            modules={"translator": self.translator, "registrator": self.registrator},
            setup=self._load,
            deploys={"sshnet": self.whole},
        )
        return (stage,)

    def weight_files(self) -> Sequence[Path]:
        """The files of L_pcp's features."""
        c = self.config
        if c.pcp != "lpips" or c.pcp_backend == "random":
            return ()
        path = None if c.pcp_weights is None else Path(c.pcp_weights)
        with _advice():
            return lpips_files(path) if c.pcp_backend == "vgg16" else (timm_file(c.pcp_backend[len("timm:") :], path),)

    def provenance(self) -> Mapping[str, Any]:
        """Which features L_pcp was computed with, and hashes of their weights."""
        return {"perceptual": self._perceptual.source} if self.config.pcp == "lpips" else {}

    def _self_views(self) -> tuple[str, ...]:
        """The self-pairs that the switches leave in use."""
        if not self.config.reformulate:
            return ()
        return ("self_source", "self_target") if self.config.regulariser else ("self_target",)

    def _load(self) -> None:
        if self.config.pcp == "lpips":
            self._perceptual.to(next(self.registrator.parameters()).device)

    @cached_property
    def _perceptual(self) -> Perceptual:
        c = self.config
        if c.pcp_backend == "random":
            return random_features()
        path = None if c.pcp_weights is None else Path(c.pcp_weights).expanduser()
        with _advice():
            if c.pcp_backend == "vgg16":
                return lpips_vgg16(path, c.pcp_range)
            return timm_features(c.pcp_backend.removeprefix("timm:"), path)

    def _loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """The sum of all terms; where T and H are clipped apart, the second objective uses the graph of the first."""
        if "loss" in shared:
            return {"loss": shared["loss"]}
        terms, probes = self._terms(batch)
        shared["loss"] = sum(terms.values(), torch.zeros((), device=batch.pair.source.device))
        return {"loss": shared["loss"]} | terms | probes

    def _terms(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every term of the loss by name, and the measurements that are logged beside them."""
        c = self.config
        terms: dict[str, Tensor] = {}
        probes: dict[str, Tensor] = {}
        if c.reformulate and c.regulariser:
            terms["l_h_source"], probes["ace_source"] = self._self_term(batch, batch.self_source, through=True)
        if c.reformulate:
            terms["l_h_target"], probes["ace_target"] = self._self_term(batch, batch.self_target, through=False)
        translated, target, mask, estimate = self._aligned(batch)
        terms["l_pcp"] = self._content(translated, target)
        if c.corr != "none":
            terms["l_corr"] = self._correlation(translated, target)
        return terms, probes | {"covered": mask.detach().mean()} | spread_of(estimate.detach())

    def _self_term(self, batch: Batch, own: SelfPair, through: bool) -> tuple[Tensor, Tensor]:
        """L_H of one branch and its corner error in pixels; with ``through`` the images pass through T first."""
        warped, image = own.warped, own.image
        if self.config.jitter:
            warped, image = jittered(warped, batch.generator), jittered(image, batch.generator)
        if through:
            with torch.set_grad_enabled(not self.config.split):
                warped, image = self._translate(batch, warped), self._translate(batch, image)
        registration = self.registrator(warped, image)
        loss = displacement_loss(self.config.displacement_loss, self.registrator, registration, own.displacement)
        return loss, geometry.corner_error(registration.displacement.detach(), own.displacement).mean()

    def _aligned(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The translation warped onto the target, the target where that covers it, the mask, the estimate."""
        pair, split = batch.pair, self.config.split
        translated = self._translate(batch, pair.source)
        if split:
            with torch.no_grad():
                estimate = self.registrator(translated, pair.target).displacement
        else:
            estimate = self.registrator(translated, pair.target).displacement
        size = (translated.shape[-2], translated.shape[-1])
        h = geometry.homography_from_displacement(estimate, size)
        mask = geometry.warp(torch.ones_like(translated[:, :1]), h)
        return geometry.warp(translated, h), mask * pair.target, mask, estimate

    def _translate(self, batch: Batch, source: Tensor) -> Tensor:
        return self.translator.translate(source, batch.pair.target, generator=batch.generator)

    def _content(self, translated: Tensor, target: Tensor) -> Tensor:
        """L_pcp: mean over pixels, also over those that neither image covers (the published mean)."""
        if self.config.pcp == "l1":
            return F.l1_loss(translated, target)
        if self.config.pcp == "l2":
            return F.mse_loss(translated, target)
        return self._perceptual(translated, target).mean()

    def _correlation(self, translated: Tensor, target: Tensor) -> Tensor:
        """L_corr = 1 - mean over positions of the cosine between H's features of both images."""
        maps = []
        for image in (translated, target):
            if self.config.corr_updates_registrator:
                features = self._features(image)
            else:  # the same weights as constants: the gradient passes through them, not into them
                constants = {name: p.detach() for name, p in self._features.named_parameters()}
                features = torch.func.functional_call(self._features, constants, (image,))
            maps.append(F.avg_pool2d(features, 2) if self.config.corr == "pool_corr" else features)
        return 1 - F.cosine_similarity(maps[0], maps[1], dim=1).mean()


@contextmanager
def _advice() -> Iterator[None]:
    """Add to an error about a missing file what a person can set instead."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} (--set strategy.pcp_weights=…, or --set strategy.pcp_backend=random)") from None


class _Features(nn.Module):
    """A registrator whose call is its features."""

    def __init__(self, registrator: Registrator) -> None:
        super().__init__()
        self.registrator = registrator

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, C, h, w)``."""
        return self.registrator.features(image)
