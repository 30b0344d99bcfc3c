"""The unaligned target as it is: what a translation that leaks the target's geometry amounts to.

A translator that is shown the unaligned target may hand it on instead of the source's picture. A registrator still
learns something from that: with its own warp d on top of the pair's hidden one, of the same law and independent, the
warped source lies d + hidden away from the target, the label says d, and the best guess is half of what is seen. A
strategy that is no better with a translator than with this has not learned from the translation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import Context, Stage, Translator


class CopyTarget(Translator):
    """Returns the target unchanged. Without parameters: nothing is trained."""

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], the target itself, in its own geometry."""
        return target

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """None: there is nothing to learn."""
        return ()
