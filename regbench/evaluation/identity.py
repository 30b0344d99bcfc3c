"""No motion at all: what the harness alone offers to judge, where no registrators are installed."""

from __future__ import annotations

from torch import Tensor

from regbench.api.registrator import Registrator
from regbench.api.types import Registration


class Identity(Registrator):
    """Estimates zero displacement for every pair: the line a method must beat to have learned anything."""

    any_size = True

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration of zeros, ``(1, B, 4, 2)``."""
        return Registration(source.new_zeros(1, source.shape[0], 4, 2), (source.shape[-2], source.shape[-1]))
