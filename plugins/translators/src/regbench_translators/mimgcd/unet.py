"""The noise predictor: an ADM-style U-Net (Dhariwal and Nichol 2021) with time by scale and shift.

It is written here rather than taken from diffusers, because one network and a short schedule are all that is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops import attention
from regbench_translators.mimgcd.norm import group_norm

NARROW = 64
"""Channels of the first level below which groups have a least number of channels."""

Norm = Callable[[int], nn.GroupNorm]
"""Number of channels to their group norm."""


def _zero(module: nn.Module) -> nn.Module:
    """The module with all weights zero: residual branches and the output start at zero, as in ADM."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ResBlock(nn.Module):
    """Two 3x3 convolutions; the time features scale and shift the normalised map between them."""

    def __init__(self, inputs: int, outputs: int, time: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` and time features ``(B, time)`` to ``(B, outputs, H, W)``."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(time))[..., None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Self-attention over pixels, heads of 32 channels where they fit."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.heads = max(channels // 32, 1)
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.project = _zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x).flatten(2)).reshape(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = (projected.transpose(-1, -2) for projected in qkv.unbind(dim=1))
        attended = attention(q, k, v).transpose(-1, -2).reshape(b, c, h * w)
        return x + self.project(attended).reshape(b, c, h, w)


class Level(nn.Module):
    """A residual block, and attention where the level has it."""

    def __init__(self, inputs: int, outputs: int, time: int, dropout: float, attends: bool, norm: Norm) -> None:
        super().__init__()
        self.block = ResBlock(inputs, outputs, time, dropout, norm)
        self.attention = Attention(outputs, norm) if attends else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` and time features ``(B, time)`` to ``(B, outputs, H, W)``."""
        return self.attention(self.block(x, time))


class UNet(nn.Module):
    """Encoder and decoder with skips; the middle attends whenever levels may.

    Args:
        inputs: channels of noisy image, reference and map together.
        outputs: channels of the prediction.
        base: channels of the first level.
        multipliers: channels of each level in units of ``base``; each level but the last halves the size.
        blocks: residual blocks a level on the way down (one more on the way up).
        attention: whether levels whose index is at least 3 (16 px of 128), and the middle, attend.
        dropout: inside residual blocks.
        group: least channels of a group of group norm where ``base`` is below 64. From there on ADM's 32 groups stay.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        base: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 3, 4),
        blocks: int = 2,
        attention: bool = True,
        dropout: float = 0.0,
        group: int = 4,
    ) -> None:
        super().__init__()
        self.base = base
        norm = partial(group_norm, groups=32, least=group if base < NARROW else 1)
        time = 4 * base
        self.time = nn.Sequential(nn.Linear(base, time), nn.SiLU(), nn.Linear(time, time))
        self.stem = nn.Conv2d(inputs, base, 3, padding=1)
        skips, channels = [base], base
        self.down = nn.ModuleList()
        for i, multiplier in enumerate(multipliers):
            level = nn.ModuleList()
            for _ in range(blocks):
                level.append(Level(channels, base * multiplier, time, dropout, attention and i >= 3, norm))
                channels = base * multiplier
                skips.append(channels)
            if i + 1 < len(multipliers):
                level.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                skips.append(channels)
            self.down.append(level)
        self.middle = nn.ModuleList(
            [
                Level(channels, channels, time, dropout, attention, norm),
                ResBlock(channels, channels, time, dropout, norm),
            ]
        )
        self.up = nn.ModuleList()
        for i, multiplier in reversed(list(enumerate(multipliers))):
            level = nn.ModuleList()
            for _ in range(blocks + 1):
                attends = attention and i >= 3
                level.append(Level(channels + skips.pop(), base * multiplier, time, dropout, attends, norm))
                channels = base * multiplier
            if i > 0:
                level.append(nn.Conv2d(channels, channels, 3, padding=1))
            self.up.append(level)
        self.norm = norm(channels)
        self.head = _zero(nn.Conv2d(channels, outputs, 3, padding=1))

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` and diffusion steps ``(B,)`` to ``(B, outputs, H, W)`` float32.

        H and W must be multiples of 2^(levels - 1).
        """
        time = self.time(step_features(step, self.base).to(self.stem.weight.dtype))
        h = self.stem(x)
        skips = [h]
        for level in self.down:
            for layer in level.children():
                h = layer(h) if isinstance(layer, nn.Conv2d) else layer(h, time)
                skips.append(h)
        for layer in self.middle:
            h = layer(h, time)
        for level in self.up:
            for layer in level.children():
                if isinstance(layer, nn.Conv2d):
                    h = layer(F.interpolate(h, scale_factor=2.0, mode="nearest"))
                else:
                    h = layer(torch.cat([h, skips.pop()], dim=1), time)
        # The one-step estimate multiplies an error of the prediction by up to 6: the last layer needs float32.
        with torch.autocast(h.device.type, enabled=False):
            return self.head(F.silu(self.norm(h.float())))


def step_features(step: Tensor, size: int) -> Tensor:
    """Sinusoidal features ``(B, size)`` of diffusion steps ``(B,)``, frequencies 1 to 1/10000."""
    half = size // 2
    rates = torch.exp(torch.arange(half, device=step.device) * (-math.log(10_000) / half))
    angles = step[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
