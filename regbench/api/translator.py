"""The translator role: renders the source in the target's modality, keeping the source's geometry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from regbench.api.config import ComponentConfig
from regbench.api.types import PairInfo
from regbench.errors import UsageError

if TYPE_CHECKING:
    from regbench.api.stage import Stage
    from regbench.api.strategy import Context

Estimate = Callable[[Tensor, Tensor], Tensor]
"""(source, target) -> H ``(B, 3, 3)``: the current, frozen estimate of the homography."""


class Translator(nn.Module, ABC):
    """Base class of every translator."""

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig

    def __init__(self, config: ComponentConfig, info: PairInfo) -> None:
        super().__init__()
        self.config = config
        self.info = info

    @abstractmethod
    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Render ``source`` in the modality of ``target``.

        Args:
            source: ``(B, 3, H, W)`` in [0, 1]; its geometry is kept.
            target: ``(B, 3, H, W)`` in [0, 1]; an unaligned image of the target modality.
            generator: CPU generator for methods that draw noise.

        Returns:
            ``(B, 3, H, W)`` in [0, 1].
        """

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """What the encoder of the network that renders makes of an image, at layers worth comparing (PatchNCE).

        Args:
            image: ``(B, 3, H, W)`` in [0, 1], of either modality.

        Returns:
            Maps ``(B, C, h, w)``, from fine to coarse, the same number and channels at every call. Gradients reach
            the image and the encoder; nothing is drawn.
        """
        raise UsageError(f"{type(self).__name__} offers no features")

    def role(self, ctx: Context) -> str:
        """The name this translator has in the run: what its stages call it."""
        return next(name for name, module in ctx.modules.items() if module is self)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """Stages that learn from unaligned images alone; ``steps`` overrides the published number."""
        raise UsageError(f"{type(self).__name__} does not learn from unpaired images")

    def aligned_stages(self, ctx: Context, round: int, estimate: Estimate) -> tuple[Stage, ...]:
        """Stages that learn from pairs aligned by the current estimate; the translator warps what it needs."""
        raise UsageError(f"{type(self).__name__} does not learn from aligned pairs")
