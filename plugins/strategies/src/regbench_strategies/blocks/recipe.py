"""The training recipe of the MCNet family, which several strategies share (MCNet's published code, sec. 1.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from regbench import Batch, ComponentConfig, Context, Objective, Shared, Steps
from regbench.schedules import LearningRate, constant, cosine, one_cycle
from regbench_strategies.presets import RECIPE_PRESETS

Loss = Callable[[Batch, Shared], Mapping[str, Tensor]]
"""The loss of an objective."""


class RegistratorRecipe(ComponentConfig):
    """AdamW with a linear one-cycle; defaults are MCNet's."""

    steps: Steps = Field(120_000, ge=1, description="training steps")
    batch: int = Field(16, ge=2, description="pairs a step")
    lr: float = Field(4e-4, gt=0, description="largest learning rate")
    weight_decay: float = Field(1e-5, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    optimiser: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="adam decays weights through the gradient (ReDFeat's), sgd has momentum 0.9 (DHN's)"
    )
    schedule: Literal["one-cycle", "cosine", "constant"] = Field(
        "one-cycle", description="one-cycle: total = steps + 100, 5 % warm-up; cosine: down to 1e-4 of lr (ReDFeat's)"
    )

    presets = RECIPE_PRESETS

    def objective(self, ctx: Context, loss: Loss, updates: Sequence[str] = ("registrator",)) -> Objective:
        """One objective of this recipe, which updates the named modules together."""
        return Objective(
            updates=tuple(updates),
            loss=loss,
            optimiser=self._optimiser(),
            lr=self._rate(),
            clip=self.clip,
            precision=ctx.precision,
        )

    def _rate(self) -> LearningRate:
        if self.schedule == "one-cycle":
            return one_cycle(self.lr, self.steps + 100)
        return cosine(self.lr, self.steps, 1e-4 * self.lr) if self.schedule == "cosine" else constant(self.lr)

    def _optimiser(self) -> Callable[..., torch.optim.Optimizer]:
        if self.optimiser == "sgd":
            return partial(torch.optim.SGD, lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
        return partial(kind, lr=self.lr, weight_decay=self.weight_decay)
