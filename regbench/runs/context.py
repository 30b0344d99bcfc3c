"""What a strategy is handed to build its networks: no label, no label seed, no aligned pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.translator import Translator
from regbench.api.types import PairInfo
from regbench.distributed.batch_layers import see_whole_batches
from regbench.distributed.processes import ALONE, World
from regbench.errors import PluginError, UsageError
from regbench.plugins.registry import Component
from regbench.results.layout import RESULT
from regbench.results.schema import Result
from regbench.results.store import load_result
from regbench.seeds import seed_of
from regbench.weights.files import load_weights
from regbench.weights.used import Hashes, weights_used


@dataclass(frozen=True)
class Ancestor:
    """A finished run this one starts from, without its seed, which is often this run's own."""

    run_id: str
    supervision: Literal["none", "homography"]
    folder: Path

    @property
    def result(self) -> Result:
        """Its whole record, read again from its folder."""
        return load_result(self.folder / RESULT)


@dataclass(frozen=True)
class ConfiguredComponent:
    """A component with its resolved settings."""

    component: Component
    config: ComponentConfig

    def build(self, info: PairInfo, seed: int) -> nn.Module:
        """Instantiate a network component, initialised from ``seed``.

        Raises:
            UsageError: the settings do not fit the pairs (a ValueError of the constructor).
            PluginError: it does not derive from the base class of its role.
        """
        torch.manual_seed(seed)
        expected = {"registrator": Registrator, "translator": Translator}[self.component.role]
        try:
            network = self.component.load()(self.config, info)
        except ValueError as error:
            raise UsageError(f"{self.component.role} {self.component.name!r}: {error}") from error
        if not isinstance(network, expected):
            raise PluginError(
                f"{self.component.role} {self.component.name!r} of {self.component.distribution}: "
                f"{self.component.target} is no {expected.__name__}"
            )
        return network


@dataclass
class RunContext:
    """The :class:`regbench.api.strategy.Context` of one run.

    Attributes:
        info: what networks may know of the pairs.
        device: where modules are built.
        components: registrator and translator of the run, by role.
        seed: of the run. Only a hash of it is kept, so that nobody uses it for hidden labels by mistake.
        precision: ``fp32`` or ``bf16``, for the objectives of the strategy.
        weights: file the registrator starts from, under every role name; None starts it from its seed.
        modules: every module of the run by role name.
        ancestors: finished runs this run starts from.
        given_teacher: what a finished run deploys, for strategies that learn from one; None when none was named.
        teacher_used: whether the strategy called :meth:`teacher`.
        world: the processes that train together.
        files: hashes of the published weights that building read, by kind of component.
    """

    info: PairInfo
    device: torch.device
    components: Mapping[str, ConfiguredComponent | None]
    seed: int
    precision: str = "fp32"
    weights: Path | None = None
    modules: dict[str, nn.Module] = field(default_factory=dict)
    ancestors: list[Ancestor] = field(default_factory=list)
    given_teacher: Registrator | None = None
    teacher_used: bool = False
    world: World = ALONE
    files: dict[str, Hashes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Forget the run's own seed."""
        self.seed = seed_of(self.seed, "networks")

    def registrator(self, role: str = "registrator") -> Registrator:
        """The run's registrator under a role name; the same name gives the same network."""
        network = self._network("registrator", role)
        assert isinstance(network, Registrator)
        return network

    def translator(self, role: str = "translator") -> Translator:
        """The run's translator under a role name; the same name gives the same network."""
        network = self._network("translator", role)
        assert isinstance(network, Translator)
        return network

    def module(self, role: str, build: Callable[[], nn.Module]) -> nn.Module:
        """A strategy's own module under a role name, built once and seeded by the name."""
        if role not in self.modules:
            torch.manual_seed(seed_of(self.seed, "init", role))
            module = build().to(self.device)
            self.modules[role] = module if self.world.processes == 1 else see_whole_batches(module)
        return self.modules[role]

    def teacher(self) -> Registrator:
        """What the finished run of ``--teacher`` deploys, in evaluation mode and without gradients.

        Raises:
            UsageError: none was named.
        """
        self.teacher_used = True
        if self.given_teacher is None:
            raise UsageError("the strategy learns from a finished run, but none was named: add --teacher RUN")
        return self.given_teacher.requires_grad_(False).eval()

    def _network(self, kind: str, role: str) -> nn.Module:
        component = self.components.get(kind)
        if component is None:
            raise UsageError(f"the strategy needs a {kind}, but none was named: add --{kind} NAME")

        def build() -> nn.Module:
            with weights_used() as read:
                network = component.build(self.info, seed_of(self.seed, "init", role))
            self.files.setdefault(kind, {}).update(read)
            if kind == "registrator" and self.weights is not None:
                load_weights(network, self.weights)
            return network

        return self.module(role, build)
