"""Checkpoints: one safetensors file that holds everything a resume needs, written atomically.

Tensors: ``module/<name>/<key>``, ``optimiser/<i>/<parameter>/<key>``, ``ema/<i>/<n>``. Everything else is JSON in the
file's metadata. No pickle is written or read.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from regbench.errors import DataError, RegbenchError


@dataclass
class TrainingState:
    """Where training stands: ``step`` steps of stage number ``stage`` are done."""

    stage: int = 0
    step: int = 0
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file so that ``path`` is always either the old or the new file, whole.

    Raises:
        RegbenchError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, partial, dict(metadata))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        why = "the disk is full; free some space" if full else str(error)
        raise RegbenchError(f"cannot write {path}: {why}, then run the same command again to resume") from error


def read_tensors(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; raises DataError in one line when it is missing or broken."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt", device=device) as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error}); it may be truncated") from error


def module_tensors(modules: Mapping[str, nn.Module], prefix: str = "module") -> dict[str, Tensor]:
    """Parameters and buffers of named modules, keyed ``prefix/name/key``."""
    return {f"{prefix}/{name}/{k}": v for name, m in modules.items() for k, v in m.state_dict().items()}


def load_modules(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load named modules strictly; raises DataError naming what does not fit."""
    for name, module in modules.items():
        prefix = f"module/{name}/"
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            first = " ".join(str(error).split())[:300]
            raise DataError(f"{where}: weights of {name!r} do not fit its configuration: {first}") from error


def save_checkpoint(
    path: Path,
    state: TrainingState,
    modules: Mapping[str, nn.Module],
    optimisers: Sequence[Optimizer],
    averages: Sequence[Sequence[Tensor] | None],
) -> None:
    """Write the state of a run to ``path``, atomically."""
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
    }
    write_tensors(path, tensors, metadata)


@dataclass(frozen=True)
class Checkpoint:
    """A read checkpoint, applied piece by piece."""

    path: Path
    tensors: dict[str, Tensor]
    state: TrainingState
    scalars: list[dict[str, Any]]

    def load_modules(self, modules: Mapping[str, nn.Module]) -> None:
        """Load every module of the run."""
        load_modules(modules, self.tensors, self.path)

    def load_optimiser(self, i: int, optimiser: Optimizer) -> None:
        """Restore the state tensors of the stage's ``i``-th optimiser; its settings come from the stage."""
        state: dict[int, dict[str, Any]] = {}
        prefix = f"optimiser/{i}/"
        for key, value in self.tensors.items():
            if key.startswith(prefix):
                parameter, _, name = key.removeprefix(prefix).partition("/")
                state.setdefault(int(parameter), {})[name] = value
        for key, scalar in (self.scalars[i] if i < len(self.scalars) else {}).items():
            parameter, _, name = key.partition("/")
            state.setdefault(int(parameter), {})[name] = scalar
        whole = optimiser.state_dict()
        optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})

    def load_average(self, i: int, average: Sequence[Tensor]) -> None:
        """Restore the moving average of the stage's ``i``-th objective."""
        with torch.no_grad():
            for n, value in enumerate(average):
                value.copy_(self.tensors[f"ema/{i}/{n}"])


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at ``path``, or None when there is none; raises DataError when it is broken."""
    if not path.is_file():
        return None
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != "regbench-checkpoint":
        raise DataError(f"{path}: not a regbench checkpoint; move it away to start afresh")
    return Checkpoint(
        path, tensors, TrainingState(**json.loads(metadata["state"])), json.loads(metadata["optimiser_scalars"])
    )
