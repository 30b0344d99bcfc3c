"""Stage and Objective: a training strategy as plain data, which the one trainer executes.

``stages`` of a strategy is pure: nothing is trained or drawn when it is built, so that a dry run, the time left and
a resume by index need no training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from regbench.api.types import Batch

Shared = dict[str, Any]
"""What the objectives of one step share: filled by ``Stage.shared``, such as a generator's output that several use, and
by an objective for those after it, detached."""


@dataclass(frozen=True)
class Objective:
    """One loss, and the modules it updates.

    Attributes:
        updates: names of modules of the stage. The gradient is taken for their parameters alone.
        loss: ``(batch, shared)`` to a dict of scalars; the entry ``loss`` is minimised, the others are logged.
        optimiser: parameters to optimiser, such as ``functools.partial(torch.optim.AdamW, weight_decay=1e-5)``.
        lr: learning rate as a pure function of the step within the stage (from 0).
        clip: largest gradient norm over all updated parameters; None for no clipping.
        ema: decay of an exponential moving average of the updated weights; the average replaces the weights at the
            end of the stage. The decay of step n is at most (1 + n) / (10 + n), so that a short stage
            forgets its start.
        precision: ``fp32`` or ``bf16`` (autocast around ``loss``).
        after: called after the update, such as U-GAT-IT's clipping of rho.
    """

    updates: tuple[str, ...]
    loss: Callable[[Batch, Shared], Mapping[str, Tensor]]
    optimiser: Callable[[Sequence[nn.Parameter]], Optimizer]
    lr: Callable[[int], float]
    clip: float | None = None
    ema: float | None = None
    precision: str = "fp32"
    after: Callable[[], None] | None = None


@dataclass(frozen=True)
class Stage:
    """A part of training with fixed modules, data and objectives.

    Attributes:
        name: unique within the run.
        steps: number of steps.
        batch: samples a step.
        views: what each batch holds: ``pair``, ``self_source``, ``self_target``, ``unpaired``.
        objectives: executed in this order within each step.
        modules: every module the stage touches, by name; the names are those of the run (``ctx.modules``), or parts of
            them, such as ``translator.unet``. A part is named after its whole.
        shared: ``(batch) -> dict`` evaluated once a step, before the objectives, at the precision they agree on.
        begin: called once when the stage starts afresh, not on resume (load R from R_s).
        setup: called whenever the stage starts, also on resume (rebuild caches).
        train: names of modules in train mode; defaults to the updated ones. Frozen is not eval.
        deploys: modules the evaluator scores at the end of the stage and every ``eval_every`` steps, to file only.
        parts: how many equal parts, one after another, the batch consists of, such as UNSB's two images of a sample;
            processes that share a batch share each part.
        capture: False for stages with data-dependent lengths, which a graph cannot capture.
    """

    name: str
    steps: int
    batch: int
    views: tuple[str, ...]
    objectives: tuple[Objective, ...]
    modules: Mapping[str, nn.Module]
    shared: Callable[[Batch], Shared] | None = None
    begin: Callable[[], None] | None = None
    setup: Callable[[], None] | None = None
    train: tuple[str, ...] | None = None
    deploys: Mapping[str, nn.Module] = field(default_factory=dict)
    capture: bool = True
    parts: int = 1

    def __post_init__(self) -> None:
        """Check names against each other; raises ValueError."""
        unknown = set(self.views) - {"pair", "self_source", "self_target", "unpaired"}
        if unknown:
            raise ValueError(f"stage {self.name!r} asks for unknown views: {', '.join(sorted(unknown))}")
        named = {name for o in self.objectives for name in o.updates} | set(self.train or ())
        if named - set(self.modules):
            raise ValueError(f"stage {self.name!r} names modules it does not hold: {sorted(named - set(self.modules))}")
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"stage {self.name!r} needs at least one step and one sample")

    @property
    def updated(self) -> tuple[str, ...]:
        """Names of the modules this stage changes."""
        return tuple(dict.fromkeys(name for o in self.objectives for name in o.updates))


def module_named(modules: Mapping[str, nn.Module], name: str) -> nn.Module | None:
    """A module of the run or a part of one (``translator``, ``translator.unet``); None when there is none."""
    role, _, part = name.partition(".")
    try:
        return modules[role].get_submodule(part)
    except (KeyError, AttributeError):
        return None
