"""The source, unchanged: the control that every translation has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import Translator


class Identity(Translator):
    """Returns the source unchanged. It has no parameters and is differentiable."""

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], the source itself."""
        return source
