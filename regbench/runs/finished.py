"""Finished runs: rebuilt from their configuration and safetensors alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.types import PairInfo, Registration
from regbench.errors import DataError, RegbenchError
from regbench.plugins.registry import registry
from regbench.results.layout import RESULT, WEIGHTS
from regbench.results.schema import Component, Result
from regbench.results.store import load_result
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.runs.request import ROLES
from regbench.weights.files import load_modules, read_tensors


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, opened: its record and the registrator it deploys."""

    result: Result
    registrator: Registrator

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.result.run_id

    @property
    def supervision(self) -> Literal["none", "homography"]:
        """The strongest supervision of the run and its ancestors."""
        return self.result.identity.supervision

    @property
    def ranges(self) -> tuple[str | None, str | None]:
        """The value ranges of source and target that it saw; None where the run is older than the record."""
        found = self.result.training.get("ranges", {})
        return (found.get("source"), found.get("target"))


class MissingTeacher(Registrator):
    """Stands in for the teacher of a run that is opened again: it is not trained, so nothing calls it."""

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Raise RegbenchError."""
        raise RegbenchError("a finished run was opened without its teacher and cannot be trained")


def open_run(folder: Path, device: torch.device | str = "cpu") -> FinishedRun:
    """Rebuild what a finished run deploys.

    Args:
        folder: the run's directory.
        device: where to put the network.

    Raises:
        DataError: there is no finished run, or its weights are missing or broken.
        UsageError: one of its components is not installed.
    """
    path = folder / RESULT
    if not path.is_file():
        raise DataError(f"{folder}: no {RESULT}, so no finished run; name a run directory")
    result = load_result(path)
    if result.status != "ok":
        raise DataError(f"{folder}: this run is {result.status} ({result.reason}); run it again first")
    identity = result.identity
    components = {role: _configured(role, getattr(identity, role)) for role in ROLES}
    info = PairInfo(**result.training["pairs"])
    teacher = MissingTeacher(ComponentConfig(), info)
    context = RunContext(info, torch.device(device), components, identity.seed, given_teacher=teacher)
    strategy = components["strategy"]
    if strategy is None:
        return FinishedRun(result, context.registrator().eval())
    built = strategy.component.load()(strategy.config)
    deployed = built.build(context)
    tensors, _ = read_tensors(folder / WEIGHTS)
    load_modules(context.modules, tensors, folder / WEIGHTS)
    return FinishedRun(result, deployed.eval())


def _configured(role: str, recorded: Component | None) -> ConfiguredComponent | None:
    """The installed component of a record, with the recorded settings."""
    if recorded is None:
        return None
    component = registry().get(role, recorded.name)
    settings = component.load().Config
    return ConfiguredComponent(component, settings.model_validate({**settings.formerly, **recorded.config}))
