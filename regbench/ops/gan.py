"""Adversarial losses on a discriminator's verdicts before any sigmoid; each is a mean over patches and batch."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

GanKind = Literal["lsgan", "ns", "hinge"]
"""Least squares (Mao et al. 2017), non-saturating (Goodfellow et al. 2014), hinge (Lim and Ye 2017)."""


def real_loss(verdict: Tensor, kind: GanKind = "lsgan") -> Tensor:
    """The discriminator's loss on real images: lsgan (v - 1)^2, ns softplus(-v), hinge relu(1 - v).

    Args:
        verdict: the discriminator's output, of any shape.
        kind: which loss.

    Returns:
        A scalar, at least 0.
    """
    if kind == "lsgan":
        return (verdict - 1).square().mean()
    return F.softplus(-verdict).mean() if kind == "ns" else F.relu(1 - verdict).mean()


def fake_loss(verdict: Tensor, kind: GanKind = "lsgan") -> Tensor:
    """The discriminator's loss on generated images: lsgan v^2, ns softplus(v), hinge relu(1 + v).

    Args:
        verdict: the discriminator's output, of any shape.
        kind: which loss.

    Returns:
        A scalar, at least 0.
    """
    if kind == "lsgan":
        return verdict.square().mean()
    return F.softplus(verdict).mean() if kind == "ns" else F.relu(1 + verdict).mean()


def discriminator_loss(real: Tensor, fake: Tensor, kind: GanKind = "lsgan") -> Tensor:
    """What a discriminator minimises: :func:`real_loss` plus :func:`fake_loss`, without a factor 1/2.

    Args:
        real: verdicts on real images, of any shape.
        fake: verdicts on generated images, of any shape.
        kind: which loss.

    Returns:
        A scalar, at least 0.
    """
    return real_loss(real, kind) + fake_loss(fake, kind)


def generator_loss(fake: Tensor, kind: GanKind = "lsgan") -> Tensor:
    """What a generator minimises, so that its images pass for real: lsgan (v - 1)^2, ns softplus(-v), hinge -v.

    Args:
        fake: verdicts on generated images, of any shape.
        kind: which loss.

    Returns:
        A scalar.
    """
    return -fake.mean() if kind == "hinge" else real_loss(fake, kind)
