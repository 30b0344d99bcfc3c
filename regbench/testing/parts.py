"""Components under test: which ones, at which settings, with which partners."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from typing import Any, cast

import pytest
import torch

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.strategy import TrainingStrategy
from regbench.api.translator import Translator
from regbench.api.types import PairInfo, Registration
from regbench.data.protocol import Protocol
from regbench.errors import DataError
from regbench.plugins.compatibility import incompatible
from regbench.plugins.registry import ROLES, Component, registry
from regbench.runs.context import ConfiguredComponent, RunContext
from regbench.settings import build_config
from regbench.testing import DISTRIBUTION

PROTOCOL = Protocol(patch=64, rho=16)
INFO = PairInfo(PROTOCOL.patch, PROTOCOL.rho, 3, 1, "optical", "sar")
_SMALL = ("tiny", "smoke")  # presets a component is tested at, the first it has


class Opinionated(Registrator):
    """A teacher for strategies that learn from a finished run: everything has moved by (3, -2) px."""

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels."""
        moved = torch.tensor([3.0, -2.0], device=source.device).expand(1, len(source), 4, 2)
        return Registration(moved, (source.shape[-2], source.shape[-1]))


def each(*roles: str, provides: str | None = None, lacks: str | None = None) -> Any:
    """Parametrise a test's ``component`` over what is under test.

    Args:
        roles: whose components.
        provides: only those that claim this capability.
        lacks: only those that do not claim it.
    """
    own = os.environ.get(DISTRIBUTION)
    found = [
        c
        for role in roles
        for c in registry().all(role)
        if own in (None, "", c.distribution)
        and (provides is None or provides in c.provides)
        and (lacks is None or lacks not in c.provides)
    ]
    ids = [c.name if len(roles) == 1 else f"{c.role}:{c.name}" for c in found]
    return pytest.mark.parametrize("component", found, ids=ids)


every_role = each(*ROLES)
configurable = each(*(role for role in ROLES if role not in ("metric", "command")))


def small_config(component: Component) -> ComponentConfig:
    """A component's settings at its smallest preset, or as published where it has none."""
    preset = _preset(component)
    return build_config(component, {"preset": preset} if preset else {})


def chosen(component: Component | None) -> ConfiguredComponent | None:
    """A component with small settings, as a run holds it."""
    return None if component is None else ConfiguredComponent(component, small_config(component))


def build_registrator(component: Component, seed: int = 0) -> Registrator:
    """A small registrator in eval mode; skips the test where its published weights are not here.

    A matcher that works only with them can be built without, so that they can be loaded, but says on its first use
    what is missing.
    """
    network = cast(Registrator, _built(component, seed))
    nothing = torch.zeros(1, 3, PROTOCOL.patch, PROTOCOL.patch)
    try:
        with torch.inference_mode():
            network.register(nothing, nothing)
    except DataError as error:
        pytest.skip(str(error))
    return network


def build_translator(component: Component, seed: int = 0) -> Translator:
    """A small translator in eval mode."""
    return cast(Translator, _built(component, seed))


def build_strategy(component: Component) -> TrainingStrategy:
    """A strategy at small settings."""
    return cast(TrainingStrategy, component.load()(small_config(component)))


def context(
    registrator: Component | None, translator: Component | None, info: PairInfo = INFO, seed: int = 0
) -> RunContext:
    """What a strategy is handed, with small networks and a teacher that is always of the same opinion."""
    roles = {"registrator": chosen(registrator), "translator": chosen(translator)}
    return RunContext(info, torch.device("cpu"), roles, seed, given_teacher=Opinionated(ComponentConfig(), info))


def partners(strategy: Component) -> Iterator[tuple[Component, Component | None]]:
    """Installed (registrator, translator) that fit a strategy: small and capable ones first, no translator first."""
    registrators = sorted(registry().all("registrator"), key=_preference)
    translators = [None, *sorted(registry().all("translator"), key=_preference)]
    for registrator, translator in product(registrators, translators):
        if incompatible(strategy, translator, registrator) is None:
            yield registrator, translator


def _built(component: Component, seed: int) -> torch.nn.Module:
    try:
        return ConfiguredComponent(component, small_config(component)).build(INFO, seed).eval()
    except DataError as error:  # published weights that nobody may redistribute
        pytest.skip(str(error))


def _preset(component: Component) -> str | None:
    presets = getattr(getattr(component.load(), "Config", None), "presets", {})
    return next((name for name in _SMALL if name in presets), None)


def _preference(component: Component) -> tuple[bool, int, str]:
    return (_preset(component) is None, -len(component.provides), component.name)
