"""Stand-ins for networks, so that losses have closed forms, and batches without a sampler."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from regbench import PairInfo, Translator
from regbench.api.types import Batch, Unpaired

INFO = PairInfo(32, 8, 3, 1, "optical", "sar")


class Affine(nn.Module):
    """gain * x + offset."""

    def __init__(self, gain: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.gain, self.offset = gain, offset

    def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
        return self.gain * x + self.offset


def context(translator: Translator, precision: str = "fp32") -> SimpleNamespace:
    """What ``unpaired_stages`` asks of a run."""
    return SimpleNamespace(modules={"translator": translator}, precision=precision)


def batch_of(count: int = 2, side: int = 32, step: int = 0, seed: int = 0) -> Batch:
    """Unpaired images: a source in colour and a grey target."""
    generator = torch.Generator().manual_seed(seed)
    made = Batch(count, step, generator)
    source = torch.rand(count, 3, side, side, generator=generator)
    target = torch.rand(count, 1, side, side, generator=generator).expand(-1, 3, -1, -1)
    made.views["unpaired"] = Unpaired(source, target)
    return made


def constant(value: float, channels: int, count: int = 2) -> torch.Tensor:
    return torch.full((count, channels, 32, 32), value)
