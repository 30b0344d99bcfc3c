"""The strategy role: who learns what from which data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

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

    def run(self, path: Path) -> Any:
        """Open a finished run as an ancestor; its supervision becomes part of this run's."""
        ...

    def gather(self, x: Tensor, dim: int = 0) -> Tensor:
        """Samples of all processes that share a batch, with gradient: for losses that couple samples.

        The operator of :mod:`regbench.distributed.batch`, from where what has no context takes it (a registrator's loss).
        """
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
