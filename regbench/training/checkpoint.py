"""Checkpoints: one safetensors file that holds everything a resume needs, written atomically.

Tensors: ``module/<name>/<key>``, ``optimiser/<i>/<parameter>/<key>``, ``ema/<i>/<n>``. Everything else is JSON in the
file's metadata. No pickle is written or read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regbench.errors import DataError
from regbench.weights.files import load_modules, module_tensors, read_tensors, write_tensors


@dataclass
class TrainingState:
    """How far training has come.

    Attributes:
        stage: number of the stage that is being trained; all before it are done.
        step: how many of its steps are done.
        seconds: time spent in training steps so far.
        stage_seconds: the same for each stage, by name.
        step_pairs: pairs that registrators learn from in one step of all processes, by name of the stage.
    """

    stage: int = 0
    step: int = 0
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    step_pairs: dict[str, int] = field(default_factory=dict)

    def spend(self, seconds: float, stage: str) -> None:
        """Count time spent in a stage."""
        self.seconds += seconds
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + seconds

    def next_stage(self) -> None:
        """The stage is done."""
        self.stage, self.step = self.stage + 1, 0


def save_checkpoint(
    path: Path,
    state: TrainingState,
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[Optimizer],
    averages: Sequence[Sequence[Tensor] | None],
    bound: Mapping[str, str] | None = None,
) -> None:
    """Write where a run stands, atomically.

    Args:
        path: the file.
        state: how far training has come.
        modules: every module of the run, by name.
        optimisers: of the stage's objectives, in order.
        averages: moving averages of their parameters; None for an objective without one.
        bound: facts about the run that a reader must share, see :func:`read_checkpoint`.

    Raises:
        RegbenchError: the disk is full or the folder cannot be written; the old checkpoint is untouched.
    """
    tensors = module_tensors(modules)
    scalars: list[dict[str, Any]] = []
    for i, optimiser in enumerate(optimisers):
        rest: dict[str, Any] = {}
        for parameter, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser/{i}/{parameter}/{key}"] = value
                else:
                    rest[f"{parameter}/{key}"] = value
        scalars.append(rest)
    for i, average in enumerate(averages):
        for n, value in enumerate(average or ()):
            tensors[f"ema/{i}/{n}"] = value
    metadata = {
        "format": "regbench-checkpoint",
        "version": "1",
        "state": json.dumps(vars(state)),
        "optimiser_scalars": json.dumps(scalars),
        **(bound or {}),
    }
    write_tensors(path, tensors, metadata)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read; modules, optimisers and averages are loaded from it one by one."""

    path: Path
    tensors: dict[str, Tensor]
    state: TrainingState
    scalars: list[dict[str, Any]]
    """State of each optimiser that is no tensor, by ``<parameter>/<key>``."""

    def load_modules(self, modules: Mapping[str, nn.Module]) -> None:
        """Load every module of the run; raises DataError that names what does not fit."""
        load_modules(modules, self.tensors, self.path)

    def load_optimiser(self, i: int, optimiser: Optimizer) -> None:
        """Restore the state of the stage's ``i``-th optimiser; its settings come from the stage."""
        state: dict[int, dict[str, Any]] = {}
        prefix = f"optimiser/{i}/"
        for key, value in self.tensors.items():
            if key.startswith(prefix):
                parameter, _, name = key.removeprefix(prefix).partition("/")
                state.setdefault(int(parameter), {})[name] = value
        for key, scalar in (self.scalars[i] if i < len(self.scalars) else {}).items():
            parameter, _, name = key.partition("/")
            state.setdefault(int(parameter), {})[name] = scalar
        fresh = optimiser.state_dict()
        optimiser.load_state_dict({"state": state, "param_groups": fresh["param_groups"]})

    def load_average(self, i: int, average: Sequence[Tensor]) -> None:
        """Restore the moving average of the stage's ``i``-th objective."""
        with torch.no_grad():
            for n, value in enumerate(average):
                value.copy_(self.tensors[f"ema/{i}/{n}"])


def read_checkpoint(path: Path, bound: Mapping[str, str] | None = None) -> Checkpoint | None:
    """The checkpoint at ``path``, or None when there is none.

    Raises:
        DataError: it is broken, or was not made with the facts of ``bound``, such as run id, precision and device.
    """
    if not path.is_file():
        return None
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != "regbench-checkpoint":
        raise DataError(f"{path}: not a regbench checkpoint; move it away to start afresh")
    for fact, wanted in (bound or {}).items():
        if (found := metadata.get(fact)) != wanted:
            raise DataError(
                f"{path}: was made with {fact.replace('_', ' ')} {found or 'unknown'}, this run has {wanted}; "
                "add --force to start afresh"
            )
    state = TrainingState(**json.loads(metadata["state"]))
    return Checkpoint(path, tensors, state, json.loads(metadata["optimiser_scalars"]))
