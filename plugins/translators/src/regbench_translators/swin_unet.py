"""The transformer U-Net that SSHNet trains as modality transfer network (Yu et al., CVPR 2025, as in its code).

The network has 7,574,363 parameters at 128 px: timm's Swin blocks (Liu et al., ICCV 2021) at five levels, with windows
of 8 x 8 and every second block shifted by half a window. A 3x3 convolution and pixel unshuffle halve the size, a 3x3
convolution and pixel shuffle double it, and a 1x1 convolution merges the skip. Without batch norm, training and
inference compute the same. Like ``unet``, it is trained inside a strategy such as ``sshnet``.

The table of relative positions of a level has the size of its window, which never exceeds the level's map: weights fit
the patch size they were trained at.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from regbench import PairInfo
from regbench_translators.blocks.transfer import TransferConfig, TransferNet
from regbench_translators.presets import SWIN_UNET_PRESETS


class SwinUNetConfig(TransferConfig):
    """The defaults are the published network."""

    dim: int = Field(16, ge=2, multiple_of=2, description="channels at full resolution; each level down doubles them")
    blocks: tuple[int, ...] = Field((2, 2, 2, 2, 6), min_length=1, description="Swin blocks of each level")
    head_dim: int = Field(8, ge=1, description="channels of an attention head")
    window: int = Field(8, ge=2, multiple_of=2, description="side of the attention windows")
    mlp_ratio: float = Field(4.0, gt=0, description="hidden channels of the blocks in units of their channels")

    presets = SWIN_UNET_PRESETS

    @model_validator(mode="after")
    def _heads_fit(self) -> SwinUNetConfig:
        if self.dim % self.head_dim:
            raise ValueError(f"dim={self.dim} is no multiple of head_dim={self.head_dim}")
        return self


class SwinUNet(TransferNet):
    """RGB to RGB, for one patch size.

    Raises:
        ValueError: the patch is not a multiple of 2^(levels - 1).
    """

    Config = SwinUNetConfig

    def __init__(self, config: SwinUNetConfig, info: PairInfo) -> None:
        halvings = len(config.blocks) - 1
        super().__init__(config, info, TransformerUNet(config, info.patch), halvings)


class TransformerUNet(nn.Module):
    """The network.

    Args:
        config: widths, depths and windows.
        side: of the images, px.
    """

    def __init__(self, config: SwinUNetConfig, side: int) -> None:
        super().__init__()
        dims = [config.dim * 2**i for i in range(len(config.blocks))]
        sides = [side // 2**i for i in range(len(config.blocks))]
        levels = list(zip(dims, sides, config.blocks, strict=True))
        self.stem = nn.Conv2d(3, config.dim, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(_level(config, *level) for level in levels)
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2)) for dim in dims[:-1]
        )
        self.decoder = nn.ModuleList(_level(config, *level) for level in levels[-2::-1])
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, 2 * dim, 3, padding=1, bias=False), nn.PixelShuffle(2)) for dim in dims[:0:-1]
        )
        self.merge = nn.ModuleList(nn.Conv2d(2 * dim, dim, 1, bias=False) for dim in dims[-2::-1])
        self.head = nn.Conv2d(config.dim, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, side, side)`` to the same."""
        x = _apply(self.encoder[0], self.stem(x))
        skips: list[Tensor] = []
        for reduce, level in zip(self.reduce, list(self.encoder)[1:], strict=True):
            skips.append(x)
            x = _apply(level, reduce(x))
        for enlarge, merge, level in zip(self.enlarge, self.merge, self.decoder, strict=True):
            x = _apply(level, merge(torch.cat([enlarge(x), skips.pop()], dim=1)))
        return self.head(x)


def _level(config: SwinUNetConfig, dim: int, side: int, blocks: int) -> nn.Sequential:
    """Blocks of one level; a window larger than the map is shrunk to it by timm, and nothing is shifted."""
    return nn.Sequential(
        *(
            SwinTransformerBlock(
                dim,
                (side, side),
                num_heads=dim // config.head_dim,
                window_size=config.window,
                shift_size=config.window // 2 if i % 2 else 0,
                mlp_ratio=config.mlp_ratio,
            )
            for i in range(blocks)
        )
    )


def _apply(level: nn.Module, x: Tensor) -> Tensor:
    """Blocks of a level on ``(B, C, H, W)``; timm's Swin blocks take ``(B, H, W, C)``."""
    return level(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
