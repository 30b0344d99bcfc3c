"""What the image-to-image translators have in common: channels, padding, mirror images, names of their parts.

Inside, images lie in [-1, 1]. A grey modality has one channel inside. A network that meets both modalities reads as
many channels as the richer of the two has (grey is replicated), and writes as many as its own modality has.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Objective,
    PairInfo,
    Shared,
    Stage,
    Steps,
    Translator,
    module_named,
    whole_batch,
)
from regbench_translators.blocks.gan import GanKind

ADAM = partial(torch.optim.Adam, betas=(0.5, 0.999))
"""The optimiser of every method here; some add weight decay."""


class AdversarialConfig(ComponentConfig):
    """Settings every one of them has; steps, rate and what else differs are its own."""

    steps: Steps
    batch: int = Field(1, ge=1, description="images of each modality a step")
    lr: float = Field(2e-4, gt=0, description="of generators and discriminators")
    flip: bool = Field(True, description="mirror training images, each with probability one half")
    gan: GanKind = Field("lsgan", description="adversarial loss")
    width: int = Field(64, ge=2, description="channels of a generator's first layer")
    critic_width: int = Field(64, ge=2, description="channels of a discriminator's first layer")


class ImageTranslator(Translator):
    """Base of the adversarial translators. They learn from unaligned images alone.

    None has a form that learns from pairs aligned by an estimate: its losses compare distributions, codes or cycles,
    and a wrongly aligned target would be one more image of the target's modality.

    Args:
        config: of the algorithm.
        info: of the pairs.

    Raises:
        ValueError: the patch is not a multiple of what the networks halve.
    """

    stride: ClassVar[int] = 4
    Config: ClassVar[type[ComponentConfig]] = AdversarialConfig
    config: AdversarialConfig

    def __init__(self, config: AdversarialConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        if info.patch % self.stride:
            raise ValueError(f"its networks need a patch that is a multiple of {self.stride}, got {info.patch}")
        self.common_channels = max(info.source_channels, info.target_channels)

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1]; sides that are not multiples of ``stride`` are reflected to the next one."""
        height, width = source.shape[-2:]
        rendered = self.render(self._padded(self.source_in(source)), self._padded(self.target_in(target)), generator)
        return ((rendered[..., :height, :width] + 1) / 2).expand(-1, 3, -1, -1)

    @abstractmethod
    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """Images inside, at the channels of their modalities, to the translation inside."""

    def source_in(self, image: Tensor) -> Tensor:
        """A source ``(B, 3, H, W)`` in [0, 1] as ``(B, source channels, H, W)`` in [-1, 1]."""
        return 2 * image[:, : self.info.source_channels] - 1

    def target_in(self, image: Tensor) -> Tensor:
        """A target ``(B, 3, H, W)`` in [0, 1] as ``(B, target channels, H, W)`` in [-1, 1]."""
        return 2 * image[:, : self.info.target_channels] - 1

    def common(self, image: Tensor) -> Tensor:
        """An image inside, of either modality, at the channels that both fit in."""
        return image.expand(-1, self.common_channels, -1, -1)

    def encodable(self, image: Tensor) -> Tensor:
        """An image ``(B, 3, H, W)`` in [0, 1] of either modality as an encoder reads it, reflected to fit."""
        return self._padded(2 * image[:, : self.common_channels] - 1)

    def unpaired_images(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Source and target images of a step, drawn independently, inside, each possibly mirrored."""
        source, target = self.source_in(batch.unpaired.source), self.target_in(batch.unpaired.target)
        if not self.config.flip:
            return source, target
        return mirrored(source, batch.generator), mirrored(target, batch.generator)

    def adversarial_stage(
        self,
        ctx: Context,
        name: str,
        steps: int,
        objectives: Sequence[Objective],
        shared: Callable[[Batch], Shared] | None = None,
        *,
        batch: int | None = None,
        also_train: Sequence[str] = (),
        parts: int = 1,
    ) -> Stage:
        """One stage over the view ``unpaired``; parts without parameters that change are named in ``also_train``."""
        role = self.role(ctx)
        training = tuple(dict.fromkeys([n for o in objectives for n in o.updates] + self.parts(ctx, *also_train)))
        modules = {role: self} | {name: module_named(ctx.modules, name) for name in training}
        return Stage(
            name, steps, batch or self.config.batch, ("unpaired",), tuple(objectives), modules,
            shared=shared, train=training, parts=parts,
        )  # fmt: skip

    def parts(self, ctx: Context, *names: str) -> list[str]:
        """The run's names of some of its parts."""
        return [f"{self.role(ctx)}.{name}" for name in names]

    def _padded(self, image: Tensor) -> Tensor:
        right, bottom = -image.shape[-1] % self.stride, -image.shape[-2] % self.stride
        return F.pad(image, (0, right, 0, bottom), mode="reflect") if right or bottom else image


def mirrored(image: Tensor, generator: torch.Generator) -> Tensor:
    """Each image ``(B, C, H, W)`` of a batch mirrored left to right with probability one half."""
    chosen = whole_batch.draw(lambda n: torch.rand(n, 1, 1, 1, generator=generator), len(image)) < 0.5
    return torch.where(chosen.to(image.device, non_blocking=True), image.flip(-1), image)
