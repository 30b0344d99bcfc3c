"""What a strategy is handed to build its networks: no label, no label seed, no aligned pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.translator import Translator
from regbench.api.types import PairInfo
from regbench.distributed.batch import gather
from regbench.distributed.batch_layers import see_whole_batches
from regbench.distributed.processes import ALONE, World
from regbench.errors import PluginError, UsageError
from regbench.plugins.registry import Component
from regbench.results.schema import Result
from regbench.results.store import RESULT, load_result
from regbench.seeds import seed_of
from regbench.weights.checkpoint import load_modules, read_tensors

if TYPE_CHECKING:
    from regbench.runs.finished import FinishedRun


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
class Chosen:
    """A component with its resolved settings."""

    component: Component
    config: ComponentConfig

    def build(self, info: PairInfo, seed: int) -> nn.Module:
        """Instantiate a network component, initialised from ``seed``.

        Raises:
            UsageError: the settings do not fit the pairs (a ValueError of the constructor).
            PluginError: it is not of its role's class.
        """
        torch.manual_seed(seed)
        expected = {"registrator": Registrator, "translator": Translator}[self.component.role]
        try:
            built = self.component.load()(self.config, info)
        except ValueError as error:
            raise UsageError(f"{self.component.role} {self.component.name!r}: {error}") from error
        if not isinstance(built, expected):
            raise PluginError(
                f"{self.component.role} {self.component.name!r}: {self.component.target} is no {expected.__name__}"
            )
        return built


@dataclass
class RunContext:
    """The :class:`regbench.api.strategy.Context` of one run.

    Attributes:
        info: what networks may know of the pairs.
        device: where modules are built.
        seed: of the run. What is kept is a hash of it, from which the seeds of hidden labels cannot be derived.
        precision: ``fp32`` or ``bf16``, for the objectives of the strategy.
        modules: every module of the run by role name.
        ancestors: finished runs this run starts from.
        taught_by: what a finished run deploys, for strategies that learn from one; None when none was named.
        asked: whether the strategy asked for its teacher.
        world: the processes that train together.
    """

    info: PairInfo
    device: torch.device
    chosen: Mapping[str, Chosen | None]
    seed: int
    precision: str = "fp32"
    weights: Path | None = None
    modules: dict[str, nn.Module] = field(default_factory=dict)
    ancestors: list[Ancestor] = field(default_factory=list)
    taught_by: Registrator | None = None
    asked: bool = False
    world: World = ALONE

    def __post_init__(self) -> None:
        """Forget the run's own seed."""
        self.seed = seed_of(self.seed, "networks")

    def registrator(self, role: str = "registrator") -> Registrator:
        """The run's registrator under a role name; the same name gives the same network."""
        network = self._network("registrator", role)
        assert isinstance(network, Registrator)
        return network

    def translator(self, role: str = "translator") -> Translator:
        """The run's translator under a role name."""
        network = self._network("translator", role)
        assert isinstance(network, Translator)
        return network

    def module(self, role: str, build: Callable[[], nn.Module]) -> nn.Module:
        """A strategy's own module under a role name, built once and seeded by the name."""
        if role not in self.modules:
            torch.manual_seed(seed_of(self.seed, "init", role))
            built = build().to(self.device)
            self.modules[role] = built if self.world.processes == 1 else see_whole_batches(built)
        return self.modules[role]

    def run(self, path: Path) -> FinishedRun:
        """Open a finished run as an ancestor; what supervised it supervises this run too."""
        from regbench.runs.finished import open_run

        found = open_run(path, self.device)
        self.ancestors.append(Ancestor(found.run_id, found.supervision, path))
        return found

    def gather(self, x: Tensor, dim: int = 0) -> Tensor:
        """Samples of all processes, see :func:`regbench.distributed.batch.gather`."""
        return gather(x, dim)

    def teacher(self) -> Registrator:
        """What the finished run this one learns from deploys, in evaluation mode and without gradients."""
        self.asked = True
        if self.taught_by is None:
            raise UsageError("the strategy learns from a finished run, but none was named: add --teacher RUN")
        return self.taught_by.requires_grad_(False).eval()

    def _network(self, kind: str, role: str) -> nn.Module:
        chosen = self.chosen.get(kind)
        if chosen is None:
            raise UsageError(f"the strategy asks for a {kind}, but none was named: add --{kind} NAME")

        def build() -> nn.Module:
            network = chosen.build(self.info, seed_of(self.seed, "init", role))
            if kind == "registrator" and self.weights is not None:
                load_weights(network, self.weights)
            return network

        return self.module(role, build)


def load_weights(network: nn.Module, path: Path) -> dict[str, Any]:
    """Load a weights file written by ``regbench weights import`` or a run; returns its metadata.

    Raises:
        DataError: missing, not safetensors, or not of this network at these settings.
    """
    tensors, metadata = read_tensors(path)
    load_modules({"registrator": network}, tensors, path)
    return dict(metadata)
