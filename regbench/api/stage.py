"""Stage and Objective: a training strategy as plain data, which the one trainer executes.

A strategy describes its stages and trains nothing, so that a dry run, an estimate of the time left and a resume at any
stage need no training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from regbench.api.types import Batch

Shared = dict[str, Any]
"""What the objectives of one step have in common. ``Stage.shared`` fills it, for example with a generator's output that
several losses use; an objective may add detached tensors for those after it."""


@dataclass(frozen=True)
class Objective:
    """One loss and the modules it updates. The objectives of a stage are executed in order within each step.

    Networks that a loss uses but the objective does not update are constants to the optimiser, although gradients pass
    through them; use ``torch.no_grad`` or ``detach`` where none should.

    Example::

        Objective(
            updates=("registrator",), loss=self.loss, optimiser=partial(torch.optim.AdamW, weight_decay=1e-5),
            lr=schedules.one_cycle(4e-4, 1000), clip=1.0, precision=ctx.precision,
        )

    Attributes:
        updates: names of modules of the stage. The gradient is computed for their parameters alone.
        loss: ``(batch, shared)`` to a dict of scalars; the entry ``loss`` is minimised, the others are logged.
        optimiser: parameters to optimiser, such as ``functools.partial(torch.optim.AdamW, weight_decay=1e-5)``.
        lr: learning rate as a pure function of the step within the stage (from 0), see ``regbench.schedules``.
        clip: largest gradient norm over all updated parameters; None for no clipping.
        ema: decay of an exponential moving average of the updated weights, which replaces the weights at the end of
            the stage. The decay of step n is at most (1 + n) / (10 + n), so that a short stage forgets its start.
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

    Example::

        Stage(
            name="mine", steps=1000, batch=8, views=("pair", "self_target"), objectives=(objective,),
            modules={"registrator": self.registrator},
        )

    Attributes:
        name: unique within the run.
        steps: number of steps.
        batch: samples of a step, over all processes.
        views: what each batch holds: ``pair``, ``self_source``, ``self_target``, ``unpaired``.
        objectives: executed in this order within each step.
        modules: every module the stage uses, by its name in the run (``ctx.modules``). A part of a module is named
            after the whole, such as ``translator.unet``.
        shared: ``(batch) -> dict``, evaluated once a step before the objectives, at the precision they have in common;
            all of them receive the dict.
        begin: called once when the stage starts, not after a resume: copies weights from one network to another.
        setup: called whenever the stage starts, also after a resume: reads files, rebuilds caches.
        train: names of modules in train mode; the updated ones by default. All others are in eval mode.
        deploys: registrators that are evaluated at the end of the stage and every ``eval_every`` steps. The estimates
            go to a file only; training never sees them.
        repeat_pairs: number of steps after which the pairs come again, so that what a frozen network makes of them can
            be kept (``Batch.pair_step``). Synthetic warps and ``unpaired`` are drawn anew at every step. None: pairs
            are drawn anew too.
        parts: number of equal parts, one after another, of which the batch consists, such as UNSB's two images of a
            sample; processes that share a batch share each part.

    Raises:
        ValueError: a view or a module is unknown, or there is no step, no sample or no pair.
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
    repeat_pairs: int | None = None
    parts: int = 1

    def __post_init__(self) -> None:
        """Check names against each other; raises ValueError."""
        unknown = set(self.views) - {"pair", "self_source", "self_target", "unpaired"}
        if unknown:
            raise ValueError(f"stage {self.name!r} names unknown views: {', '.join(sorted(unknown))}")
        named = {name for o in self.objectives for name in o.updates} | set(self.train or ())
        if named - set(self.modules):
            raise ValueError(f"stage {self.name!r} names modules it does not hold: {sorted(named - set(self.modules))}")
        if self.repeat_pairs is not None and self.repeat_pairs < 1:
            raise ValueError(f"stage {self.name!r}: repeat_pairs={self.repeat_pairs} is not at least one step")
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
