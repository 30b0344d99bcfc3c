"""The source as it is: what a translation has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import Translator


class Identity(Translator):
    """Returns the source unchanged. Without parameters, differentiable."""

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], the source itself."""
        return source
