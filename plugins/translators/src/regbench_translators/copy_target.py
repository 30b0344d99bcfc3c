"""The unaligned target, unchanged: the control for translations that leak the target's geometry.

A translator that sees the unaligned target may return it in place of the translated source. A registrator still learns
something from such an output. A training step warps the source by a known displacement d, drawn independently of the
pair's hidden displacement h from the same distribution. The images then differ by d + h while the label says d, and the
best estimate is half of the difference. A strategy that does no better with a translator than with this control has not
learned from the translation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench import Context, Stage, Translator


class CopyTarget(Translator):
    """Returns the target unchanged. It has no parameters, and nothing is trained."""

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1], the target itself, in its own geometry."""
        return target

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """No stage: there is nothing to learn."""
        return ()
