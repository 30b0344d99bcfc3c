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
"""(source, target) to the homography ``(B, 3, 3)``, source to target pixels, as currently estimated; no gradients."""


class Translator(nn.Module, ABC):
    """Base class of every translator: renders the source in the target's modality, with the source's geometry.

    Everything named below is imported from ``regbench``.

    Implement:
        ``translate(source, target, generator)``: images ``(B, 3, H, W)`` float32 in [0, 1] to the rendered source.

    Optional:
        ``Config``: a subclass of :class:`regbench.ComponentConfig` (pydantic); ``self.config`` holds the values, and
            ``--set translator.NAME=VALUE`` changes them. Defaults are the published network and training.
        ``__init__(config, info)``: makes the layers. ``info`` (:class:`regbench.PairInfo`) says the side of the
            patches and the channels of the modalities. A ``ValueError`` says which settings do not fit the pairs.
        ``unpaired_stages(ctx)``: training on unaligned images; ``provides=("unpaired_training",)``.
        ``aligned_stages(ctx, round, estimate)``: training on pairs that an estimated homography aligns;
            ``provides=("aligned_training",)``.
        ``features(image)``: maps of the encoder, for PatchNCE; ``provides=("features",)``.
        ``provides=("differentiable",)`` says that gradients pass from the result to the source and the weights.

    What must hold:
        Random numbers come from ``generator`` alone, so that an evaluation is repeatable; the input is not modified.
        Stages describe training and train nothing; they are those of :class:`regbench.TrainingStrategy`, whose
            docstring explains them. They name the translator by :meth:`role` and its parts as
            ``f"{self.role(ctx)}.generator"``; networks for training alone, such as a discriminator, come from
            ``ctx.module``.

    Example::

        import torch
        from regbench import Objective, Stage, Translator, schedules

        class Mine(Translator):
            def __init__(self, config, info):
                super().__init__(config, info)
                self.mix = torch.nn.Conv2d(3, 3, 1)

            def translate(self, source, target, *, generator=None):
                return self.mix(source).sigmoid()

            def unpaired_stages(self, ctx, steps=None):
                role = self.role(ctx)
                objective = Objective(
                    updates=(role,), loss=self.loss, optimiser=torch.optim.Adam, lr=schedules.constant(1e-3)
                )
                return (
                    Stage(
                        name="mine", steps=steps or 1000, batch=8, views=("unpaired",), objectives=(objective,),
                        modules={role: self},
                    ),
                )

            def loss(self, batch, shared):
                source, target = batch.unpaired.source, batch.unpaired.target
                colours = [x.mean(dim=(2, 3)) for x in (self.translate(source, target), target)]
                return {"loss": (colours[0] - colours[1]).square().mean()}

    Register it in a module of your distribution::

        @regbench.hookimpl
        def register_translators(register):
            register("mine", "my_package.mine:Mine", summary="one line", provides=("unpaired_training",))

    advertise the module in ``pyproject.toml``::

        [project.entry-points.regbench]
        my_plugin = "my_package.plugin"

    and check it: ``regbench plugins check my-distribution``.
    """

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
        """Feature maps of the rendering network's encoder, from the layers that PatchNCE compares.

        Args:
            image: ``(B, 3, H, W)`` in [0, 1], of either modality.

        Returns:
            Maps ``(B, C, h, w)``, from fine to coarse, the same number and channels at every call. Gradients reach
            the image and the encoder; nothing is drawn.

        Raises:
            UsageError: the translator offers none.
        """
        raise UsageError(f"{type(self).__name__} offers no features")

    def role(self, ctx: Context) -> str:
        """The name of this translator in ``ctx.modules``, by which its stages name it."""
        return next(name for name, module in ctx.modules.items() if module is self)

    def unpaired_stages(self, ctx: Context, steps: int | None = None) -> tuple[Stage, ...]:
        """Stages that learn from unaligned images alone.

        Args:
            ctx: of the strategy that trains this translator.
            steps: replaces the number of steps of the settings.

        Raises:
            UsageError: the translator does not learn this way.
        """
        raise UsageError(f"{type(self).__name__} does not learn from unpaired images")

    def aligned_stages(self, ctx: Context, round: int, estimate: Estimate) -> tuple[Stage, ...]:
        """Stages that learn from pairs aligned by the current estimate; the translator warps what it needs.

        Args:
            ctx: of the strategy that trains this translator.
            round: number of the round, from 1, to tell the names of the stages apart.
            estimate: (source, target) to the homography ``(B, 3, 3)``, without gradients.

        Raises:
            UsageError: the translator does not learn this way.
        """
        raise UsageError(f"{type(self).__name__} does not learn from aligned pairs")
