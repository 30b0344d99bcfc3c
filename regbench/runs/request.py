"""A request in the words of the command line, and what its words mean: components, settings, device, data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from regbench.data.packs.format import Progress
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import ensure
from regbench.data.protocol import Protocol, build_protocol
from regbench.devices import use
from regbench.distributed.processes import ALONE, World
from regbench.errors import UsageError, unknown_name
from regbench.plugins.registry import registry
from regbench.results.schema import ROLES as ROLES
from regbench.runs.context import ConfiguredComponent
from regbench.settings import Budget, budget_of, build_config, first_line, meant
from regbench.training.config import TrainerConfig

SECTIONS = (*ROLES, "dataset", "protocol", "run")
"""What ``--set SECTION.NAME=VALUE`` can name."""


@dataclass(frozen=True)
class Request:
    """What a person wants to be run. Each attribute is an option of the command line."""

    registrator: str
    strategy: str | None = None
    translator: str | None = None
    dataset: str = "synthetic"
    root: Path | None = None
    budget: str = "quick"
    pairing: str | None = None
    seed: int = 0
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    precision: str = "fp32"
    out: Path = Path("runs")
    weights: Path | None = None
    teacher: Path | None = None
    confidence: bool = False
    """Also store how sure one can be of each estimate."""
    force: bool = False
    """Prepare the data set again where its pack is damaged or its files have changed."""

    def settings(self, section: str) -> dict[str, Any]:
        """The ``--set`` values of a section; those of ``protocol`` include ``--pairing``."""
        pairing = {"pairing": self.pairing} if section == "protocol" and self.pairing is not None else {}
        return {**self.sets.get(section, {}), **pairing}


@dataclass(frozen=True)
class Resolved:
    """A request with every word looked up. Neither data nor weights have been read."""

    budget: Budget
    trainer: TrainerConfig
    device: torch.device
    protocol: Protocol
    components: Mapping[str, ConfiguredComponent | None]
    """By role; None where the request names none."""


def resolve(request: Request, world: World = ALONE) -> Resolved:
    """Look up every word of a request.

    Args:
        request: names and settings.
        world: the processes that train together, which have a GPU each.

    Raises:
        UsageError: an unknown name, setting or section, a bad value, or a device that is not there.
    """
    for section in request.sets:
        if section not in SECTIONS:
            raise unknown_name("section of --set", section, SECTIONS)
    if not 0 <= request.seed < 2**63:
        raise UsageError(f"--seed {request.seed}: seeds lie in 0..{2**63 - 1}")
    budget = budget_of(request.budget)
    return Resolved(
        budget=budget,
        trainer=trainer_config(request.settings("run")),
        device=device_of(request.device, world),
        protocol=build_protocol(request.settings("protocol"), budget),
        components={
            role: configure_if_named(role, getattr(request, role), request.settings(role), budget) for role in ROLES
        },
    )


def resolve_data(request: Request, protocol: Protocol, progress: Progress | None = None) -> tuple[Pack, Protocol]:
    """The pack of a request's data set, prepared if it is not there yet, and the protocol its pairs follow.

    Raises:
        UsageError: the data set needs a folder, or its settings are wrong.
        DataError: the data set cannot be read.
    """
    pack = pack_of(request, progress)
    return pack, protocol_on(pack.aligned, request, protocol)


def protocol_on(aligned: bool, request: Request, protocol: Protocol) -> Protocol:
    """The protocol of a request's pairs on a data set that is ``aligned`` or not.

    Really unaligned pairs can only be taken as they are: ``pairing`` becomes ``given`` unless the request sets it.
    """
    if aligned or "pairing" in request.settings("protocol"):
        return protocol
    return protocol.model_copy(update={"pairing": "given"})


def pack_of(request: Request, progress: Progress | None = None) -> Pack:
    """The pack of a request's data set, prepared if it is not there yet; raises as :func:`resolve_data`."""
    return ensure(
        request.dataset,
        root=request.root,
        settings=request.settings("dataset"),
        progress=progress,
        renew=request.force,
    )


def configure(
    role: str, name: str, settings: Mapping[str, Any] | None = None, budget: Budget | None = None
) -> ConfiguredComponent:
    """Look a component up and resolve its settings.

    Args:
        role: such as ``registrator``.
        name: as registered.
        settings: its section of ``--set``.
        budget: picks a preset or scales step counts; None leaves the published size.

    Raises:
        UsageError: an unknown name or setting, or a bad value.
    """
    component = registry().get(role, name)
    return ConfiguredComponent(component, build_config(component, settings, budget))


def configure_if_named(
    role: str, name: str | None, settings: Mapping[str, Any], budget: Budget | None
) -> ConfiguredComponent | None:
    """As :func:`configure`; None without a name, which must not have settings either (UsageError)."""
    if name:
        return configure(role, name, settings, budget)
    if settings:
        raise UsageError(f"--set {role}.{next(iter(settings))}: no {role} was named; add --{role} NAME")
    return None


def check_device(name: str) -> None:
    """Raise UsageError for a word that names no device which networks run on here, such as ``mps``."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise UsageError(f"--device {name}: networks run on a CPU or on CUDA here; use --device cpu, cuda or cuda:N")


def device_of(name: str, world: World = ALONE) -> torch.device:
    """The device of a word: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

    Processes that train together have a GPU each: the one with the number of the process on its machine. A GPU becomes
    the current device of the process.

    Raises:
        UsageError: it is no device, or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world.processes > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise UsageError(f"--device {name}: {world.processes} processes cannot share a GPU; use --device cuda")
        name = f"cuda:{world.rank.local}"
    check_device(name)
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        few = "start fewer processes or use" if world.processes > 1 else "use"
        raise UsageError(f"--device {name}: {torch.cuda.device_count()} CUDA devices are here; {few} --device cpu")
    return use(device)


def trainer_config(settings: Mapping[str, Any]) -> TrainerConfig:
    """The ``run`` section of ``--set``; raises UsageError."""
    for name in settings:
        if name not in TrainerConfig.model_fields:
            raise unknown_name("setting of run", name, TrainerConfig.model_fields)
    try:
        return TrainerConfig.model_validate(meant(TrainerConfig, settings))
    except ValidationError as error:
        raise UsageError(f"run: {first_line(error)}") from None
