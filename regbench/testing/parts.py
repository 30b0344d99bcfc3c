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
from regbench.api.stage import Stage
from regbench.api.strategy import Context, TrainingStrategy
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


class ConstantTeacher(Registrator):
    """A teacher for strategies that learn from a finished run: it always estimates a translation by (3, -2) px."""

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels."""
        displacements = torch.tensor([3.0, -2.0], device=source.device).expand(1, len(source), 4, 2)
        return Registration(displacements, (source.shape[-2], source.shape[-1]))


def each(*roles: str, provides: str | None = None, lacks: str | None = None) -> Any:
    """Parametrise a test's ``component`` over the components under test.

    Args:
        roles: the roles whose components are tested.
        provides: only components that claim this capability.
        lacks: only components that do not claim this capability.
    """
    distribution = os.environ.get(DISTRIBUTION)
    components = [
        c
        for role in roles
        for c in registry().all(role)
        if distribution in (None, "", c.distribution)
        and (provides is None or provides in c.provides)
        and (lacks is None or lacks not in c.provides)
    ]
    ids = [c.name if len(roles) == 1 else f"{c.role}:{c.name}" for c in components]
    return pytest.mark.parametrize("component", components, ids=ids)


every_role = each(*ROLES)
configurable = each(*(role for role in ROLES if role not in ("metric", "command")))


def small_config(component: Component) -> ComponentConfig:
    """A component's settings at its smallest preset, or as published where it has none."""
    preset = _preset(component)
    return build_config(component, {"preset": preset} if preset else {})


def configured(component: Component | None) -> ConfiguredComponent | None:
    """A component with small settings, as a run holds it."""
    return None if component is None else ConfiguredComponent(component, small_config(component))


def build_registrator(component: Component, seed: int = 0) -> Registrator:
    """A small registrator in eval mode; skips the test where its published weights are not here.

    A matcher that works with published weights only can be built without them, so that they can be loaded, but its
    first use raises DataError.
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


def planned_stages(strategy: TrainingStrategy, ctx: Context) -> tuple[Stage, ...]:
    """Build the networks of a strategy, then list its stages, as a run does."""
    strategy.build(ctx)
    return strategy.stages(ctx)


def context(
    registrator: Component | None, translator: Component | None, info: PairInfo = INFO, seed: int = 0
) -> RunContext:
    """The context of a strategy, with small networks and a :class:`ConstantTeacher`."""
    roles = {"registrator": configured(registrator), "translator": configured(translator)}
    return RunContext(info, torch.device("cpu"), roles, seed, given_teacher=ConstantTeacher(ComponentConfig(), info))


def partners(strategy: Component) -> Iterator[tuple[Component, Component | None]]:
    """Installed (registrator, translator) that fit a strategy; small and capable ones come first."""
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
