"""The training recipe of the MCNet family, which several strategies share (MCNet's published code, sec. 1.4).

Recipes of other networks are settings of it. DHN (DeTone et al. 2016): ``optimiser=sgd schedule=step lr=0.005
decay_steps=30000 steps=90000 batch=64 weight_decay=0 clip=null``. ReDFeat's stands at its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from regbench import Batch, ComponentConfig, Context, Objective, Shared, Steps
from regbench.schedules import LearningRate, constant, cosine, one_cycle, step_decay
from regbench_strategies.presets import RECIPE_PRESETS

Loss = Callable[[Batch, Shared], Mapping[str, Tensor]]
"""The loss of an objective."""


class RegistratorRecipe(ComponentConfig):
    """AdamW with a linear one-cycle; defaults are MCNet's."""

    steps: Steps = Field(120_000, ge=1, description="training steps")
    batch: int = Field(16, ge=2, description="pairs a step")
    lr: float = Field(4e-4, gt=0, description="largest learning rate")
    weight_decay: float = Field(1e-5, ge=0)
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm; null: none")
    optimiser: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="adam decays weights through the gradient (ReDFeat's), sgd has momentum 0.9 (DHN's)"
    )
    schedule: Literal["one-cycle", "cosine", "step", "constant"] = Field(
        "one-cycle",
        description="one-cycle: total = steps + 100, 5 % warm-up; cosine: down to 1e-4 of lr (ReDFeat's); step: to a "
        "tenth after each decay_steps (DHN's)",
    )
    decay_steps: Steps = Field(30_000, ge=1, description="of schedule=step: steps after which the rate is a tenth")

    presets = RECIPE_PRESETS

    @model_validator(mode="after")
    def _decays(self) -> RegistratorRecipe:
        if self.schedule == "step" and self.decay_steps >= self.steps:
            raise ValueError(
                f"schedule=step never falls: decay_steps={self.decay_steps} is not less than steps={self.steps}"
            )
        return self

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
        if self.schedule == "cosine":
            return cosine(self.lr, self.steps, 1e-4 * self.lr)
        return step_decay(self.lr, self.decay_steps) if self.schedule == "step" else constant(self.lr)

    def _optimiser(self) -> Callable[..., torch.optim.Optimizer]:
        if self.optimiser == "sgd":
            return partial(torch.optim.SGD, lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.optimiser == "adam" else torch.optim.AdamW
        return partial(kind, lr=self.lr, weight_decay=self.weight_decay)
