"""Adversarial losses on verdicts without sigmoid; all are means over patches and batch."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

GanKind = Literal["lsgan", "ns", "hinge"]
"""Least squares (Mao et al. 2017), non-saturating (Goodfellow et al. 2014), hinge (Lim and Ye 2017)."""


def critic_loss(real: Tensor, fake: Tensor, kind: GanKind = "lsgan") -> Tensor:
    """What a discriminator minimises: the loss on real images plus the loss on fakes, without a factor."""
    if kind == "lsgan":
        return (real - 1).square().mean() + fake.square().mean()
    if kind == "ns":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor, kind: GanKind = "lsgan") -> Tensor:
    """What a generator minimises: its fakes should be taken for real."""
    if kind == "lsgan":
        return (fake - 1).square().mean()
    return F.softplus(-fake).mean() if kind == "ns" else -fake.mean()
