"""IHN: iterative deep homography estimation (Cao, Hu, Sheng, Shen, CVPR 2022).

Features of both patches at stride 4; all their correlations at once; then, with tied weights, six times: look the
correlations up around where the current homography leads, add the flow, decode an increment of the four corner
displacements. The second scale warps the target by the first scale's estimate, encodes it again at stride 2, and
estimates the remaining displacement in three iterations. Increments are full-resolution pixels at every scale.

``ihn1`` has one scale (1,307,970 parameters at 128 px, of which 16,640 belong to the 1x1 convolution of the unused
scale: published weights hold it), ``ihn`` both (1,715,652). ``ihn-lite`` is the one-scale form that SSHNet trains
(760,066): a narrower decoder, images in [0, 1], no gradient through the lookup. ``scpnet-net`` is the one-scale network
with a single iteration, which is the estimator of SCPNet. Its own has 1,285,058 parameters: it lacks the unused
convolution and reads one grey channel (16,640 and 6,272 parameters more here, where grey is three equal channels). The
depth of each decoder follows the patch; published weights therefore fit 128 px only.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import PairInfo, Registration, Registrator
from regbench.ops import sequence_loss
from regbench_registrators.blocks.all_pairs import LEVELS, all_pairs
from regbench_registrators.blocks.composition import Composition, in_sequence
from regbench_registrators.blocks.decoder import HalvingDecoder, ProjectingDecoder, poolings
from regbench_registrators.blocks.encoder import ResidualEncoder
from regbench_registrators.blocks.flow import flow_of, warp_by_flow
from regbench_registrators.blocks.scales import ScalesConfig, Width
from regbench_registrators.presets import IHN_PRESETS, SINGLE_SHOT_PRESETS
from regbench_registrators.published_keys import IHN_KEYS


class IHNConfig(ScalesConfig):
    """Defaults are the published 2-scale network."""

    iterations: tuple[int, int] = Field((6, 3), description="iterations at the first and at the second scale")
    radius: int = Field(4, ge=1, description="half side of the lookup window")
    stem: int = Field(64, ge=1, description="channels of the 7x7 stem")
    widths: tuple[int, ...] = Field((64, 96), description="channels of the encoder at strides 2, 4, ..")
    dim: int = Field(256, ge=1, description="channels of the correlated features")
    decoder: Literal["ihn", "sshnet"] = Field("ihn", description="the published decoder, or that of SSHNet's form")
    decoder_widths: tuple[Width, Width] = Field(
        (128, 80), description="channels of the decoders of the first and second scale"
    )
    signed: bool = Field(True, description="bring images from [0, 1] to [-1, 1]")
    detach_lookup: bool = Field(False, description="no gradient through the coordinates of the lookup")
    gamma: float = Field(0.85, gt=0, le=1, description="of the sequence loss")
    composition: Composition = Field("add", description="of the scales: published sum, or exact product")

    presets = IHN_PRESETS


class SingleShotConfig(IHNConfig):
    """Defaults are the estimator of SCPNet: one scale, one iteration, in every preset too."""

    scales: Literal[1, 2] = Field(1, description="number of scales, coarse to fine")
    finest: Literal[2, 4] = Field(4, description="stride of the finest scale")
    iterations: tuple[int, int] = Field((1, 3), description="iterations at the first and at the second scale")

    presets = SINGLE_SHOT_PRESETS


class IHN(Registrator):
    """The network of the IHN paper, without the inlier mask of its IHN-mov.

    Args:
        config: sizes; defaults are published.
        info: ``info.patch`` must be a power of two and at least four times the coarsest stride.

    Raises:
        ValueError: the patch does not pool down to 2 x 2.
    """

    Config = IHNConfig
    config: IHNConfig
    published_keys = IHN_KEYS

    def __init__(self, config: IHNConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.strides = config.strides
        self.encoder = ResidualEncoder(
            stem=config.stem,
            kernel=7,
            stem_stride=config.stem_stride,
            levels=dict(zip(config.levels, config.widths, strict=False)),
            heads=config.heads,
            dim=config.dim,
            pool=True,
        )
        inputs = LEVELS * (2 * config.radius + 1) ** 2 + 2
        self.decoders = nn.ModuleList(
            HalvingDecoder(inputs, width, pools)
            if config.decoder == "ihn"
            else ProjectingDecoder(inputs, width, pools, groups=width // 8, before=2)
            for pools, width in zip(poolings("IHN", info.patch, self.strides), config.decoder_widths, strict=False)
        )

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the displacements; one entry an iteration, ``(iterations of all scales, B, 4, 2)``."""
        b = source.shape[0]
        size = (source.shape[-2], source.shape[-1])
        source, target = self._ranged(source), self._ranged(target)
        # One pass over both images: instance norm keeps them independent.
        features = self.encoder(torch.cat([source, target]), self.strides)
        target_map = features[self.strides[0]][b:]
        before = source.new_zeros(b, 4, 2)
        flow = before.new_zeros(0)
        estimates: list[Tensor] = []
        for scale, (stride, decoder) in enumerate(zip(self.strides, self.decoders, strict=True)):
            if scale > 0:
                before = estimates[-1]
                target_map = self.encoder(warp_by_flow(target, flow), (stride,))[stride]
            source_map = features[stride][:b]
            map_size = (source_map.shape[-2], source_map.shape[-1])
            lookup = all_pairs(source_map, target_map, self.config.radius)
            displacement = torch.zeros_like(before)
            flow = flow_of(displacement, stride, map_size)
            for _ in range(self.config.iterations[scale]):
                correlation = lookup(flow.detach() if self.config.detach_lookup else flow)
                displacement = displacement + decoder(torch.cat([correlation, flow], dim=1)).float()
                flow = flow_of(displacement, stride, map_size)
                # The second scale sees the warped target: its homography applies first, the earlier one after it.
                whole = in_sequence(displacement, before, size, self.config.composition) if scale else displacement
                estimates.append(whole)
        return Registration(torch.stack(estimates), size)

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sequence loss, a scalar; the exponent of gamma starts anew at the second scale."""
        iterations = self.config.iterations[: self.config.scales]
        return sequence_loss(
            registration.displacements, displacement, weight, gamma=self.config.gamma, iterations=iterations
        )

    def features(self, image: Tensor) -> Tensor:
        """Features at the coarsest scale, ``(B, dim, H / stride, W / stride)``."""
        return self.encoder(self._ranged(image), self.strides[:1])[self.strides[0]]

    def _ranged(self, image: Tensor) -> Tensor:
        return 2 * image - 1 if self.config.signed else image


class SingleShot(IHN):
    """IHN that estimates once: the estimator of SCPNet, under the name ``scpnet-net``."""

    Config = SingleShotConfig
    published_keys = ()  # SCPNet's weights are of one channel, without the unused convolution
