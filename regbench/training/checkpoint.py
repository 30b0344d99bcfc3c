"""Checkpoints: one safetensors file that holds everything a resume needs, written atomically.

Tensors: ``module/<name>/<key>``, ``optimiser/<i>/<parameter>/<key>``, ``ema/<i>/<n>``. Everything else is JSON in the
file's metadata. No pickle is written or read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regbench.errors import DataError
from regbench.weights.files import load_modules, module_tensors, read_tensors, write_tensors

_VERSION = "1"
_LOST = "where this training stood is lost: add --force to start afresh"


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

    @classmethod
    def from_json(cls, text: str) -> TrainingState:
        """The state that ``json.dumps(vars(state))`` wrote; raises ValueError where it can be none."""
        state = cls(**json.loads(text))
        counts, times = (state.stage, state.step), (state.seconds, *state.stage_seconds.values())
        if not all(type(n) is int and n >= 0 for n in counts) or not all(0 <= t < math.inf for t in times):
            raise ValueError(f"no state of a training: {text}")
        return state

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
    writer: Writer | None = None,
) -> None:
    """Write where a run stands, atomically.

    Args:
        path: the file.
        state: how far training has come.
        modules: every module of the run, by name.
        optimisers: of the stage's objectives, in order.
        averages: moving averages of their parameters; None for an objective without one.
        bound: facts about the run that a reader must share, see :func:`read_checkpoint`.
        writer: writes the file while training goes on, for tensors that are not on the host; None writes it here.

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
        "version": _VERSION,
        "state": json.dumps(vars(state)),
        "optimiser_scalars": json.dumps(scalars),
        **(bound or {}),
    }
    held = on_host(tensors)
    if writer is None:
        write_tensors(path, held, metadata)
    else:
        writer.write(path, held, metadata)


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors in the host's memory, by one transfer for each device and type instead of one for each tensor.

    Tensors that are on the host already stay what they are.
    """
    held = dict(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.device.type != "cpu":
            groups.setdefault((tensor.device, tensor.dtype), []).append(name)
    for names in groups.values():
        flat = torch.cat([tensors[name].detach().reshape(-1) for name in names]).cpu()
        for name, part in zip(names, torch.split(flat, [tensors[name].numel() for name in names]), strict=True):
            held[name] = part.view(tensors[name].shape)
    return held


class Writer:
    """Writes checkpoints in a thread, one after the other, while training goes on.

    What it is given must not change any more: copies of tensors on another device. A failure to write is raised by the
    next call of either method.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._last: Future[None] | None = None

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Begin to write a file, after the one before."""
        self.wait()
        self._last = self._thread.submit(write_tensors, path, tensors, metadata)

    def wait(self) -> None:
        """Return when the last file is whole; raises RegbenchError where it could not be written."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


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
        known = {n for group in fresh["param_groups"] for n in group["params"]}
        if not set(state) <= known:
            raise DataError(f"{self.path}: holds an optimiser of other parameters than this stage has; {_LOST}")
        optimiser.load_state_dict({"state": state, "param_groups": fresh["param_groups"]})

    def load_average(self, i: int, average: Sequence[Tensor]) -> None:
        """Restore the moving average of the stage's ``i``-th objective."""
        with torch.no_grad():
            for n, value in enumerate(average):
                kept = self.tensors.get(f"ema/{i}/{n}")
                if kept is None or kept.shape != value.shape:
                    raise DataError(f"{self.path}: lacks the average of objective {i}, tensor {n}; {_LOST}")
                value.copy_(kept)


def read_checkpoint(path: Path, bound: Mapping[str, str] | None = None) -> Checkpoint | None:
    """The checkpoint at ``path``, or None when there is none.

    Raises:
        DataError: it is broken, or was not made with the facts of ``bound``, such as run id, precision and device; says
            that ``--force`` starts afresh.
    """
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path)
    except DataError as error:
        raise DataError(f"{error}; {_LOST}") from error
    if metadata.get("format") != "regbench-checkpoint":
        raise DataError(f"{path}: not a regbench checkpoint; {_LOST}")
    if metadata.get("version") != _VERSION:
        raise DataError(
            f"{path}: is of version {metadata.get('version')}, not {_VERSION}; upgrade regbench, or {_LOST}"
        )
    for fact, wanted in (bound or {}).items():
        if (found := metadata.get(fact)) != wanted:
            raise DataError(
                f"{path}: was made with {fact.replace('_', ' ')} {found or 'unknown'}, this run has {wanted}; "
                "add --force to start afresh"
            )
    try:
        state, scalars = TrainingState.from_json(metadata["state"]), json.loads(metadata["optimiser_scalars"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: does not say where its run stands; {_LOST}") from error
    return Checkpoint(path, tensors, state, scalars)
