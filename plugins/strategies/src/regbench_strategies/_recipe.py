"""The training recipe of the MCNet family, which several strategies share (MCNet's published code, sec. 1.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field

from regbench import ComponentConfig, Steps
from regbench.schedules import LearningRate, constant, one_cycle


class RegistratorRecipe(ComponentConfig):
    """AdamW with a linear one-cycle; defaults are MCNet's."""

    steps: Steps = Field(120_000, ge=1, description="training steps")
    batch: int = Field(16, ge=2, description="pairs a step")
    lr: float = Field(4e-4, gt=0, description="largest learning rate")
    weight_decay: float = Field(1e-5, ge=0)
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    optimiser: Literal["adamw", "sgd"] = Field("adamw", description="sgd has momentum 0.9 (DHN's)")
    schedule: Literal["one-cycle", "constant"] = Field("one-cycle", description="total = steps + 100, 5 % warm-up")

    presets = {
        # The rate is raised with the shortened schedule: 0.717 x identity after 500 steps on VEDAI, 0.745 at 1e-3.
        "quick": {"steps": 1500, "lr": 2e-3},
        "smoke": {"steps": 20, "batch": 8},
    }

    def build_optimiser(self) -> Callable[..., torch.optim.Optimizer]:
        """Parameters to optimiser."""
        if self.optimiser == "sgd":
            return partial(torch.optim.SGD, lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)
        return partial(torch.optim.AdamW, lr=self.lr, weight_decay=self.weight_decay)

    def build_lr(self) -> LearningRate:
        """Step to learning rate."""
        return one_cycle(self.lr, self.steps + 100) if self.schedule == "one-cycle" else constant(self.lr)
