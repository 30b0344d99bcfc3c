"""Finished runs: rebuilt from their configuration and safetensors alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.types import PairInfo, Registration
from regbench.contained import refuse_links
from regbench.errors import DataError, RegbenchError
from regbench.plugins.registry import registry
from regbench.results.layout import RESULT, WEIGHTS
from regbench.results.schema import ROLES, Component, Result
from regbench.results.store import load_result
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.runs.strategies import deployed_of, strategy_of
from regbench.settings import first_line
from regbench.weights.files import load_modules, module_tensors, read_tensors
from regbench.weights.used import file_sha256

_log = logging.getLogger("regbench")


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, opened: its record and the registrator it deploys.

    Attributes:
        result: its record.
        registrator: what it deploys, in evaluation mode.
        modules: all its networks by role name, as they are saved with it.
        info: what they know of the pairs they learned from.
        components: registrator, translator and strategy, by role.
    """

    result: Result
    registrator: Registrator
    modules: dict[str, nn.Module]
    info: PairInfo
    components: Mapping[str, ConfiguredComponent | None]

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

    @property
    def other_code(self) -> list[str]:
        """Its components whose installed version is not the one that made the run, in words."""
        found = []
        for role, configured in self.components.items():
            recorded = getattr(self.result.identity, role)
            if configured is not None and recorded.version != configured.component.version:
                found.append(f"{recorded.name} {recorded.version} (installed: {configured.component.version})")
        return found


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
        DataError: there is no finished run, or its weights are missing, broken or not those it was judged with.
        UsageError: one of its components is not installed.
    """
    path = folder / RESULT
    if not path.is_file():
        raise DataError(f"{folder}: no {RESULT}, so no finished run; name a run directory")
    refuse_links(folder)
    result = load_result(path)
    if result.status != "ok":
        raise DataError(f"{folder}: this run is {result.status} ({result.reason}); run it again first")
    identity = result.identity
    components = {role: _configured(role, getattr(identity, role), path) for role in ROLES}
    try:
        info = PairInfo(**result.training["pairs"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: training.pairs does not say what the networks know of their pairs ({error})"
        ) from error
    teacher = MissingTeacher(ComponentConfig(), info)
    context = RunContext(info, torch.device(device), components, identity.seed, given_teacher=teacher)
    strategy = components["strategy"]
    deployed = context.registrator() if strategy is None else deployed_of(strategy_of(strategy), context, strategy)
    if module_tensors(context.modules):
        _load_kept(folder / WEIGHTS, result, context.modules)
    run = FinishedRun(result, deployed.eval(), context.modules, info, components)
    if run.other_code:
        _log.warning("%s was made with %s; its numbers may not come out again", folder, ", ".join(run.other_code))
    return run


def _load_kept(path: Path, result: Result, modules: Mapping[str, nn.Module]) -> None:
    """Load the weights a run was judged with; raises DataError where they are not there or are others."""
    learned = any(True for module in modules.values() for _ in module.parameters())
    if not path.is_file() and result.identity.strategy is None:
        if not learned:
            return  # an earlier regbench kept no buffers, which the settings decide
        raise DataError(f"{path}: no such file; an earlier regbench kept no weights of this run: evaluate it again")
    tensors, metadata = read_tensors(path)
    if result.weights_sha256 is not None and file_sha256(path) != result.weights_sha256:
        raise DataError(f"{path}: holds other weights than the run was judged with (sha256 in {RESULT}); run it again")
    if metadata.get("run_id") != result.run_id:
        raise DataError(f"{path}: holds weights of run {metadata.get('run_id')}, not of {result.run_id}; run it again")
    load_modules(modules, tensors, path)


def _configured(role: str, recorded: Component | None, path: Path) -> ConfiguredComponent | None:
    """The installed component of a record, with the recorded settings; raises DataError where it refuses them."""
    if recorded is None:
        return None
    component = registry().get(role, recorded.name)
    settings = component.load().Config
    try:
        return ConfiguredComponent(component, settings.model_validate({**settings.formerly, **recorded.config}))
    except ValidationError as error:
        raise DataError(
            f"{path}: {role} {recorded.name!r} has settings that the installed one refuses: {first_line(error)}"
        ) from error
