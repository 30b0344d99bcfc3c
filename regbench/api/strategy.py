"""The strategy role: who learns what from which data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol

from torch import nn

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.api.types import PairInfo


class Context(Protocol):
    """What a strategy may know and ask for. It holds no label, no label seed and no aligned pair."""

    info: PairInfo
    modules: dict[str, nn.Module]
    precision: str

    def registrator(self, role: str) -> Registrator:
        """The run's registrator under a role name; the first call with a name builds it, seeded by the name."""
        ...

    def translator(self, role: str) -> Translator:
        """The run's translator under a role name; the first call with a name builds it."""
        ...

    def module(self, role: str, build: Callable[[], nn.Module]) -> nn.Module:
        """A strategy's own module under a role name, built once, so that it is saved with the run."""
        ...

    def teacher(self) -> Registrator:
        """What the finished run of ``--teacher`` deploys, frozen; raises UsageError when none was named."""
        ...


class TrainingStrategy(ABC):
    """Base class of every strategy.

    The harness builds it with its settings, calls :meth:`stages` once, trains, and evaluates :meth:`deployed`.
    """

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    supervision: ClassVar[Literal["none", "homography"]]

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config

    @abstractmethod
    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """Build networks through ``ctx`` and say what is trained; pure, nothing is trained here."""

    @abstractmethod
    def deployed(self) -> Registrator:
        """What is evaluated; rebuildable from the configuration and safetensors alone. Called after ``stages``."""

    def provenance(self) -> Mapping[str, Any]:
        """Facts for ``result.json`` that the settings do not tell, such as hashes of files; called after training."""
        return {}
