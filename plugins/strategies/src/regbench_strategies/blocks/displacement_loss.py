"""The comparison of estimates with a label, in SSHNet and SSHNet-D: the published one or the registrator's own."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from regbench import Registration, Registrator
from regbench.ops import decayed_sum

DisplacementLoss = Literal["sequence", "own"]
"""``sequence``: SSHNet's, whatever the registrator; ``own``: the registrator's loss (MCNet's is FGO)."""
GAMMA = 0.8


def displacement_loss(
    kind: DisplacementLoss, registrator: Registrator, registration: Registration, displacement: Tensor
) -> Tensor:
    """A scalar; ``sequence`` is sum_i 0.8^(N-1-i) mean |d_i - d| over the iterations i of N.

    Args:
        kind: which comparison.
        registrator: that made the estimates.
        registration: its estimates d_i, pixels.
        displacement: label d ``(B, 4, 2)``, pixels.
    """
    if kind == "own":
        return registrator.loss(registration, displacement)
    errors = (registration.displacements - displacement).abs().mean(dim=(1, 2, 3))
    return decayed_sum(errors, gamma=GAMMA)
