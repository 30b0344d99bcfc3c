"""MCNet: multiscale correlation searching for homography estimation (Zhu, Cao, Shen et al., CVPR 2024).

Features of both patches at several scales; at each scale, coarse to fine, twice: warp the target's features into the
source's frame by the current estimate, correlate locally (9 x 9), decode to an increment of the four corner
displacements. Increments are full-resolution pixels at every scale. Nothing is detached: gradients flow through the
displacement, the closed-form homography and the sampling coordinates into all earlier iterations.

``mcnet`` is the published 3-scale network (846,470 parameters at 128 px); ``mcnet4`` adds the 4th, coarser scale that
CoLReg uses (1,201,672; the layer the authors left commented out: 64 -> 80 channels, stride 2). The depth of each
decoder follows the patch: it pools its map down to 2 x 2. Published weights therefore fit 128 px only.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from regbench import ComponentConfig, PairInfo, Registration, Registrator, whole_batch
from regbench.ops import homography_grid, warped_correlation
from regbench_registrators.blocks.decoder import ProjectingDecoder, poolings
from regbench_registrators.blocks.encoder import ResidualEncoder
from regbench_registrators.presets import MCNET_PRESETS
from regbench_registrators.published_keys import MCNET_KEYS


class MCNetConfig(ComponentConfig):
    """Defaults are the published network."""

    scales: int = Field(3, ge=1, le=4, description="number of scales, coarse to fine")
    finest: Literal[1, 2, 4] = Field(1, description="stride of the finest scale")
    iterations: int = Field(2, ge=1, description="iterations at each scale, weights shared")
    radius: int = Field(4, ge=1, description="half side of the correlation window")
    stem: int = Field(16, ge=1, description="channels of the stem")
    stem_stride: Literal[1, 2] = Field(1, description="2 skips the full-resolution level (small presets)")
    widths: tuple[int, ...] = Field((32, 48, 64, 80), description="channels of the encoder's levels")
    dim: int = Field(96, ge=1, description="channels of the correlated features")
    decoder: int = Field(64, ge=8, multiple_of=8, description="channels of the decoders")
    loss: Literal["fgo", "l1"] = Field("fgo", description="FGO (sec. 3.4) or plain sum of L1")

    presets = MCNET_PRESETS

    @model_validator(mode="after")
    def _levels_exist(self) -> MCNetConfig:
        if self.stem_stride > self.finest:
            raise ValueError(f"stem_stride={self.stem_stride} is coarser than finest={self.finest}")
        needed = len(range_of_levels(self))
        if len(self.widths) < needed:
            raise ValueError(f"widths={self.widths}: {needed} levels are needed down to stride {self.strides[0]}")
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the scales, coarse to fine."""
        return tuple(self.finest * 2**k for k in reversed(range(self.scales)))


def range_of_levels(config: MCNetConfig) -> list[int]:
    """Strides of the encoder's levels, fine to coarse, down to the coarsest scale."""
    levels: list[int] = [config.stem_stride]
    while levels[-1] < config.strides[0]:
        levels.append(levels[-1] * 2)
    return levels


class MCNet(Registrator):
    """The network of Fig. 2 of the MCNet paper.

    Args:
        config: sizes; defaults are published.
        info: ``info.patch`` must be a power of two and at least four times the coarsest stride.

    Raises:
        ValueError: the patch does not pool down to 2 x 2 at some scale.
    """

    Config = MCNetConfig
    config: MCNetConfig
    published_keys = MCNET_KEYS

    def __init__(self, config: MCNetConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.encoder = ResidualEncoder(
            stem=config.stem,
            kernel=3,
            stem_stride=config.stem_stride,
            levels=dict(zip(range_of_levels(config), config.widths, strict=False)),
            heads=config.strides,
            dim=config.dim,
        )
        window = (2 * config.radius + 1) ** 2
        self.decoders = nn.ModuleList(
            ProjectingDecoder(window, config.decoder, pools, groups=8)
            for pools in poolings("MCNet", info.patch, config.strides)
        )

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the displacements; one entry an iteration, ``(scales * iterations, B, 4, 2)``."""
        b, _, *size = source.shape
        # One pass over both images: instance norm keeps them independent.
        features = self.encoder(torch.cat([source, target]))
        displacement = source.new_zeros(b, 4, 2)
        estimates = []
        for stride, decoder in zip(self.config.strides, self.decoders, strict=True):
            source_map, target_map = features[stride].chunk(2)
            map_size = (source_map.shape[-2], source_map.shape[-1])
            for _ in range(self.config.iterations):
                # The published map: displacement / stride at the corners of the feature grid, whose last corner is at
                # 31, not 127 / 4. At stride 4 a point is off by 0.64 px in the mean and by more than 10 px under
                # strong perspective (128 px, ±32); the finer scales remove it, and it is exact at stride 1.
                grid = homography_grid(displacement, map_size, stride)
                correlation = warped_correlation(source_map, target_map, grid, self.config.radius)
                displacement = displacement + decoder(correlation).float()
                estimates.append(displacement)
        return Registration(torch.stack(estimates), (size[0], size[1]))

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Fine-grained optimisation loss (FGO; ``speedupl1`` of the published code), a scalar.

        sum_i x_i - f_i / (x_i + 0.1), with x_i the batch mean |error| of iteration i in pixels and f_i = 1 from the
        first iteration whose x falls below 1 px on. Once that bites the loss is negative, down to -10 an iteration.
        ``config.loss = "l1"`` is the sum of x_i alone.
        """
        error = (registration.displacements - displacement).abs().mean(dim=(-1, -2))  # (K, B)
        if weight is not None:
            error = error * weight
        x = whole_batch.gather(error, dim=1).mean(dim=1)  # of the whole batch: what follows is not linear in it
        if self.config.loss == "l1":
            return x.sum()
        reached = (x.detach() < 1.0).to(x.dtype).cummax(dim=0).values
        return (x - reached / (x + 0.1)).sum()

    def features(self, image: Tensor) -> Tensor:
        """Features at the coarsest scale, ``(B, dim, H / stride, W / stride)``."""
        return self.encoder(image)[self.config.strides[0]]
