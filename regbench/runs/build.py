"""One network alone, without a strategy: for judging, registering files, importing weights, exporting and timing."""

from __future__ import annotations

from pathlib import Path

import torch

from regbench.api.registrator import Registrator
from regbench.api.translator import Translator
from regbench.api.types import PairInfo
from regbench.errors import UsageError
from regbench.runs.context import ConfiguredComponent, RunContext


def registrator_alone(
    registrator: ConfiguredComponent,
    info: PairInfo | None = None,
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
    weights: Path | None = None,
    untrained: str | None = None,
) -> Registrator:
    """Build a registrator as a run without a strategy does.

    Args:
        registrator: with its settings.
        info: of the pairs it will see; the published patch and range by default.
        device: where to put it.
        seed: of its initialisation.
        weights: file to load it from.
        untrained: what a person can do instead, for the error where the registrator has to be trained and there are no
            weights; None accepts it as it is initialised.

    Raises:
        UsageError: it has to be trained, or its settings do not fit the pairs.
        DataError: the weights are missing, broken or of another network.
    """
    if untrained is not None:
        check_trained(registrator, weights, untrained)
    return _context(registrator, "registrator", info, device, seed, weights).registrator()


def translator_alone(
    translator: ConfiguredComponent,
    info: PairInfo | None = None,
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
) -> Translator:
    """Build a translator as it is initialised; raises UsageError where its settings do not fit the pairs."""
    return _context(translator, "translator", info, device, seed, None).translator()


def check_trained(registrator: ConfiguredComponent, weights: Path | None, instead: str) -> None:
    """Raise UsageError where a registrator has to be trained and there are no weights; ``instead`` ends its line."""
    component = registrator.component
    if "train" in component.provides and weights is None:
        raise UsageError(f"{component.name} has to be trained: {instead}")


def _context(
    component: ConfiguredComponent,
    role: str,
    info: PairInfo | None,
    device: torch.device | str,
    seed: int,
    weights: Path | None,
) -> RunContext:
    return RunContext(info or PairInfo(), torch.device(device), {role: component}, seed, weights=weights)
