"""RHWF: recurrent homography estimation using homography-guided image warping and focus transformer
(Cao, Zhang, Luo et al., CVPR 2023).

Each iteration warps the target image by the current estimate, encodes it again, lets both feature maps attend to
themselves and to each other (the focus transformer), correlates them around the same pixel, and decodes an increment
of the four corner displacements from correlation and flow. The attention's window shrinks from the whole map to 3 x 3
as the estimate converges. Scale 1 (stride 2) goes on from the displacement of scale 0 (stride 4).

``rhwf1`` has one scale (930,114 parameters at 128 px, of which 5,472 belong to the 1x1 convolution of the unused
scale: published weights hold it), ``rhwf`` both (1,292,868). The depth of each decoder follows the patch; published
weights therefore fit 128 px only. SSHNet's code has an RHWF of its own, with an encoder of 64 and 96 channels and 256
correlated ones, which is not here: ``rhwf1`` under ``sshnet`` is another network than that of SSHNet's tables.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from regbench import PairInfo, Registration, Registrator
from regbench.ops import local_correlation, sequence_loss
from regbench_registrators.blocks.decoder import HalvingDecoder, poolings
from regbench_registrators.blocks.encoder import ResidualEncoder
from regbench_registrators.blocks.flow import flow_of, warp_by_flow
from regbench_registrators.blocks.local_attention import global_attention, local_attention
from regbench_registrators.blocks.scales import ScalesConfig, Width
from regbench_registrators.presets import RHWF_PRESETS
from regbench_registrators.published_keys import RHWF_KEYS


class RHWFConfig(ScalesConfig):
    """Defaults are the published 2-scale network."""

    windows: tuple[tuple[int, ...], tuple[int, ...]] = Field(
        ((0, 9, 5, 3, 3, 3), (5, 5, 3, 3, 3, 3)),
        description="side of the attention's window at each iteration of the first and second scale; 0: the whole map",
    )
    reach: int = Field(8, ge=2, multiple_of=2, description="half side of the first scale's correlation window")
    stem: int = Field(32, ge=1, description="channels of the stem")
    widths: tuple[int, ...] = Field((56, 80), description="channels of the encoder at strides 2, 4, ..")
    dim: int = Field(96, ge=1, description="channels of the features, and of the attention's single head")
    motion: int = Field(128, ge=1, description="channels between correlation and decoder")
    decoder_widths: tuple[Width, Width] = Field(
        (80, 64), description="channels of the decoders of the first and second scale"
    )
    gamma: float = Field(0.85, gt=0, le=1, description="of the sequence loss")

    presets = RHWF_PRESETS

    @field_validator("windows")
    @classmethod
    def _odd_or_whole(cls, windows: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        if any(side < 0 or (side and side % 2 == 0) for row in windows for side in row) or not all(windows):
            raise ValueError("each scale needs iterations; a window's side is odd, or 0 for the whole map")
        return windows


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Single-head attention within a window, residual, then layer norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Conv2d(dim, dim, 1, bias=False) for _ in range(4))
        self.norm = ChannelNorm(dim, eps=1e-6)

    def forward(self, x: Tensor, context: Tensor, window: int) -> Tensor:
        """``x`` attends to ``context``, both ``(B, C, H, W)``; ``window`` is odd, or 0 for the whole map."""
        query, key, value = self.query(x), self.key(context), self.value(context)
        if window:
            attended = local_attention(query, key, value, window // 2)
        else:
            attended = global_attention(query, key, value)
        return self.norm(x + self.out(attended))


class FeedForward(nn.Module):
    """Two 1x1 convolutions; layer norm before the residual."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(dim, dim, 1)
        self.reduce = nn.Conv2d(dim, dim, 1)
        self.norm = ChannelNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        return x + self.norm(self.reduce(self.expand(x).relu()))


class FocusTransformer(nn.Module):
    """Each map attends to itself, then to the other; the weights are shared by both ("FocusFormer")."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.own = Attention(dim)
        self.cross = Attention(dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, source: Tensor, target: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Two maps ``(B, C, H, W)`` to two of the same shape."""
        both = torch.cat([source, target])
        both = self.own(both, both, window)
        first, second = both.chunk(2)
        both = self.cross(both, torch.cat([second, first]), window)
        first, second = self.feed_forward(both).chunk(2)
        return first, second


class Motion(nn.Module):
    """Motion features from the correlation of two maps: raw dot products in a window, ReLU, 1x1 convolution.

    Args:
        radius: half side of the window; 8 at the published first scale, 4 at the second.
        wide: give the window's 2 x 2 means, its last row and column left out, and its central half at full
            resolution (first scale; 64 + 81 channels as published), not the window itself (second scale; 81).
        outputs: channels out.
    """

    def __init__(self, radius: int, wide: bool, outputs: int) -> None:
        super().__init__()
        self.radius, self.wide = radius, wide
        self.project = nn.Conv2d(radius**2 + (radius + 1) ** 2 if wide else (2 * radius + 1) ** 2, outputs, 1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Two maps ``(B, C, h, w)`` to ``(B, outputs, h, w)``."""
        products = local_correlation(source.float(), target.float(), self.radius) * source.shape[1]
        products = products.relu()
        return self.project(self._focused(products) if self.wide else products).relu()

    def _focused(self, products: Tensor) -> Tensor:
        b, _, h, w = products.shape
        r = self.radius
        window = products.reshape(b, 2 * r + 1, 2 * r + 1, h, w)
        means = window[:, : 2 * r, : 2 * r].reshape(b, r, 2, r, 2, h, w).mean(dim=(2, 4))
        centre = slice(r // 2, r // 2 + r + 1)
        return torch.cat([means.flatten(1, 2), window[:, centre, centre].flatten(1, 2)], dim=1)


class RHWF(Registrator):
    """The network of the RHWF paper.

    Args:
        config: sizes; defaults are published.
        info: ``info.patch`` must be a power of two and at least four times the coarsest stride.

    Raises:
        ValueError: the patch does not pool down to 2 x 2.
    """

    Config = RHWFConfig
    config: RHWFConfig
    published_keys = RHWF_KEYS

    def __init__(self, config: RHWFConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self.strides = config.strides
        self.encoder = ResidualEncoder(
            stem=config.stem,
            kernel=3,
            stem_stride=config.stem_stride,
            levels=dict(zip(config.levels, config.widths, strict=False)),
            heads=config.heads,
            dim=config.dim,
        )
        self.transformers = nn.ModuleList(FocusTransformer(config.dim) for _ in self.strides)
        self.motions = nn.ModuleList(
            Motion(config.reach if i == 0 else config.reach // 2, i == 0, config.motion) for i in range(config.scales)
        )
        self.merge = nn.Conv2d(config.motion + 2, config.motion, 3, 1, 1)  # shared by both scales
        self.decoders = nn.ModuleList(
            HalvingDecoder(config.motion, width, pools)
            for pools, width in zip(poolings("RHWF", info.patch, self.strides), config.decoder_widths, strict=False)
        )

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Estimate the displacements; one entry an iteration, ``(iterations of all scales, B, 4, 2)``.

        Each increment gets gradients through its own iteration alone: to later iterations warp and flow are constants.
        """
        b = source.shape[0]
        size = (source.shape[-2], source.shape[-1])
        source, target = 2 * source - 1, 2 * target - 1
        # One pass over both images: instance norm keeps them independent.
        features = self.encoder(torch.cat([source, target]), self.strides)
        target_map: Tensor | None = features[self.strides[0]][b:]
        displacement = source.new_zeros(b, 4, 2)
        flow = displacement.new_zeros(0)
        estimates = []
        for scale, stride in enumerate(self.strides):
            source_map = features[stride][:b]
            map_size = (source_map.shape[-2], source_map.shape[-1])
            for window in self.config.windows[scale]:
                if target_map is None:  # here the flow is still that of the iteration before, on that iteration's grid
                    target_map = self.encoder(warp_by_flow(target, flow), (stride,))[stride]
                flow = flow_of(displacement.detach(), stride, map_size)
                attended = self.transformers[scale](source_map, target_map, window)
                motion = torch.cat([self.motions[scale](*attended), flow], dim=1)
                displacement = displacement + self.decoders[scale](F.relu(self.merge(motion))).float()
                estimates.append(displacement)
                flow, target_map = flow_of(displacement.detach(), stride, map_size), None
        return Registration(torch.stack(estimates), size)

    def loss(self, registration: Registration, displacement: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sequence loss, a scalar; the exponent of gamma starts anew at the second scale."""
        iterations = [len(windows) for windows in self.config.windows[: self.config.scales]]
        return sequence_loss(
            registration.displacements, displacement, weight, gamma=self.config.gamma, iterations=iterations
        )

    def features(self, image: Tensor) -> Tensor:
        """Features at the coarsest scale, ``(B, dim, H / stride, W / stride)``."""
        return self.encoder(2 * image - 1, self.strides[:1])[self.strides[0]]
