"""What the image-to-image translators have in common: channels, padding, mirror images, and their training stage.

Networks see images in [-1, 1]. A grey image has one channel there. A network that reads both modalities has as many
input channels as the richer modality (grey is replicated); a network that writes a modality has that modality's
channels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from operator import add
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from regbench import Batch, ComponentConfig, Context, Objective, PairInfo, Shared, Stage, Steps, Translator
from regbench.ops import GanKind
from regbench_translators.blocks.draws import uniform

ADAM = partial(torch.optim.Adam, betas=(0.5, 0.999))
"""The optimiser of every adversarial translator; some add weight decay."""


class AdversarialConfig(ComponentConfig):
    """Settings that every adversarial translator has."""

    steps: Steps
    batch: int = Field(1, ge=1, description="images of each modality a step")
    lr: float = Field(2e-4, gt=0, description="of generators and discriminators")
    flip: bool = Field(True, description="mirror training images, each with probability one half")
    gan: GanKind = Field("lsgan", description="adversarial loss")
    width: int = Field(64, ge=2, description="channels of a generator's first layer")
    critic_width: int = Field(64, ge=2, description="channels of a discriminator's first layer")


class ImageTranslator(Translator):
    """Base of the adversarial translators, which learn from unaligned images alone.

    They do not learn from pairs that an estimate has aligned: their losses compare distributions, codes or cycles, so
    that an aligned target would be one more image of the target's modality. A subclass implements :meth:`render` and
    ``unpaired_stages``.

    Args:
        config: settings of the algorithm.
        info: facts of the pairs.

    Raises:
        ValueError: the patch is not a multiple of ``stride``.
    """

    Config: ClassVar[type[ComponentConfig]] = AdversarialConfig
    stride: ClassVar[int] = 4
    """The networks need images whose sides are multiples of this, px."""
    config: AdversarialConfig

    def __init__(self, config: AdversarialConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        if info.patch % self.stride:
            raise ValueError(f"the networks need a patch that is a multiple of {self.stride} px, got {info.patch}")
        self.common_channels = max(info.source_channels, info.target_channels)

    def translate(self, source: Tensor, target: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Translate images of any size; sides that are not multiples of ``stride`` are padded by reflection.

        Args:
            source: ``(B, 3, H, W)`` in [0, 1].
            target: ``(B, 3, H, W)`` in [0, 1].
            generator: CPU generator for methods that draw noise.

        Returns:
            ``(B, 3, H, W)`` in [0, 1].
        """
        height, width = source.shape[-2:]
        rendered = self.render(self._padded(self.source_in(source)), self._padded(self.target_in(target)), generator)
        return ((rendered[..., :height, :width] + 1) / 2).expand(-1, 3, -1, -1)

    @abstractmethod
    def render(self, source: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """Translate padded images in [-1, 1].

        Args:
            source: ``(B, source channels, H, W)``.
            target: ``(B, target channels, H, W)``, unaligned.
            generator: CPU generator for methods that draw noise.

        Returns:
            ``(B, target channels, H, W)`` in [-1, 1].
        """

    def source_in(self, image: Tensor) -> Tensor:
        """A source ``(B, 3, H, W)`` in [0, 1] as ``(B, source channels, H, W)`` in [-1, 1]."""
        return 2 * image[:, : self.info.source_channels] - 1

    def target_in(self, image: Tensor) -> Tensor:
        """A target ``(B, 3, H, W)`` in [0, 1] as ``(B, target channels, H, W)`` in [-1, 1]."""
        return 2 * image[:, : self.info.target_channels] - 1

    def common(self, image: Tensor) -> Tensor:
        """An image of either modality, replicated to the channels of the richer one."""
        return image.expand(-1, self.common_channels, -1, -1)

    def encodable(self, image: Tensor) -> Tensor:
        """An image ``(B, 3, H, W)`` in [0, 1] of either modality as an encoder reads it: in [-1, 1], padded."""
        return self._padded(2 * image[:, : self.common_channels] - 1)

    def unpaired_images(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Source and target images of a step in [-1, 1], drawn independently and, with ``flip``, randomly mirrored."""
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
        """One stage over the view ``unpaired``.

        Args:
            ctx: of the run.
            name: of the stage.
            steps: of the stage.
            objectives: executed in this order within each step.
            shared: what the objectives of a step share.
            batch: images of each modality a step; ``config.batch`` by default.
            also_train: submodules that no objective updates but that must be in train mode and be saved.
            parts: equal parts the batch consists of, see :class:`regbench.Stage`.
        """
        role = self.role(ctx)
        updated = [module for objective in objectives for module in objective.updates]
        train = tuple(dict.fromkeys(updated + self.module_names(ctx, *also_train)))
        submodules = {module: self.get_submodule(module.removeprefix(f"{role}.")) for module in train}
        return Stage(
            name=name,
            steps=steps,
            batch=batch or self.config.batch,
            views=("unpaired",),
            objectives=tuple(objectives),
            modules={role: self} | submodules,
            shared=shared,
            train=train,
            parts=parts,
        )

    def module_names(self, ctx: Context, *submodules: str) -> list[str]:
        """The names that some submodules have in the run, such as ``translator.generator``."""
        return [f"{self.role(ctx)}.{name}" for name in submodules]

    def _padded(self, image: Tensor) -> Tensor:
        right, bottom = -image.shape[-1] % self.stride, -image.shape[-2] % self.stride
        return F.pad(image, (0, right, 0, bottom), mode="reflect") if right or bottom else image


def mirrored(image: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image ``(B, C, H, W)`` of a batch left to right with probability one half."""
    return torch.where(uniform(image, generator) < 0.5, image.flip(-1), image)


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of at least one loss term."""
    return reduce(add, terms)
