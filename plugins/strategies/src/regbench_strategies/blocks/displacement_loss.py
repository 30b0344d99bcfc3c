"""How an estimate is compared with a displacement, for strategies whose papers say so themselves."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from regbench import Registration, Registrator

DisplacementLoss = Literal["sequence", "own"]
"""``sequence``: as SSHNet, whatever the registrator; ``own``: what the registrator calls its loss (MCNet's is FGO)."""
GAMMA = 0.8


def displacement_loss(
    kind: DisplacementLoss, registrator: Registrator, found: Registration, displacement: Tensor
) -> Tensor:
    """A scalar; ``sequence`` is sum_i 0.8^(N-1-i) mean |d_i - d| over iterations i of N, d in pixels ``(B, 4, 2)``."""
    if kind == "own":
        return registrator.loss(found, displacement)
    error = (found.displacements - displacement).abs().mean(dim=(1, 2, 3))
    powers = torch.arange(len(error) - 1, -1, -1, device=error.device, dtype=error.dtype)
    return (GAMMA**powers * error).sum()
