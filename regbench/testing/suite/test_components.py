"""What every component of every role promises."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import click
import pytest

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Dataset
from regbench.api.registrator import Registrator
from regbench.api.strategy import TrainingStrategy
from regbench.api.translator import Translator
from regbench.errors import UsageError
from regbench.plugins.registry import Component, registry
from regbench.settings import build_config
from regbench.testing.parts import configurable, every_role

_BASES: dict[str, type] = {
    "translator": Translator,
    "registrator": Registrator,
    "strategy": TrainingStrategy,
    "dataset": Dataset,
    "command": click.Command,
}
_CAPABILITIES = {
    "translator": {"unpaired_training", "aligned_training", "differentiable", "features"},
    "registrator": {"train", "features"},
    "metric": {"higher_is_better"},
}


@every_role
def test_component_is_of_its_role(component: Component) -> None:
    """The target imports, and is a subclass of its role's base class (a function, for a metric)."""
    loaded = component.load()
    base = _BASES.get(component.role)
    if base is None:
        assert callable(loaded)
    elif base is click.Command:
        assert isinstance(loaded, base)
    else:
        assert isinstance(loaded, type)
        assert issubclass(loaded, base)


@every_role
def test_component_says_what_it_is(component: Component) -> None:
    """It has a summary of one line, which ``regbench plugins list`` prints."""
    assert component.summary.strip()
    assert "\n" not in component.summary


@every_role
def test_component_claims_known_capabilities(component: Component) -> None:
    """``provides`` and ``requires`` use the words of the hook specifications; others would never be matched."""
    assert component.provides <= _CAPABILITIES.get(component.role, set())
    for role, wanted in component.requires.items():
        assert component.role == "strategy"
        assert wanted <= _CAPABILITIES[role]


@every_role
def test_component_lives_in_its_own_packages(component: Component) -> None:
    """No code is imported as a top-level module such as ``utils``, where two distributions would shadow each other."""
    component.load()
    own = _packages(component)
    assert component.target.split(".")[0].split(":")[0] in own
    folders = [Path(f).parent for p in own if (f := getattr(sys.modules.get(p), "__file__", None))]
    strays = {
        name
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None))
        and name.split(".")[0] not in {*own, "__main__"}
        and any(folder in Path(file).parents for folder in folders)
    }
    assert not strays, f"modules of {component.distribution} imported under another name: {sorted(strays)}"


@configurable
def test_component_settings_are_typed(component: Component) -> None:
    """``Config`` derives from ComponentConfig, refuses unknown keys, and has valid defaults."""
    config = _config(component)
    assert config.model_config["extra"] == "forbid"
    build_config(component, {})
    with pytest.raises(UsageError, match="no_such_setting"):
        build_config(component, {"no_such_setting": 1})


@configurable
def test_component_presets_are_valid(component: Component) -> None:
    """Every preset gives valid settings."""
    for preset in _config(component).presets:
        build_config(component, {"preset": preset})


@configurable
def test_component_settings_survive_json(component: Component) -> None:
    """Settings written to result.json rebuild the same component."""
    for preset in [None, *_config(component).presets]:
        config = build_config(component, {"preset": preset} if preset else {})
        assert type(config).model_validate(config.model_dump(mode="json")) == config


def _config(component: Component) -> type[ComponentConfig]:
    config: Any = component.load().Config
    assert issubclass(config, ComponentConfig)
    return config


def _packages(component: Component) -> set[str]:
    """Top-level packages of a component's distribution: those of its plugins, and those it installed."""
    own = {p.module.split(".")[0] for p in registry().plugins if p.distribution == component.distribution}
    try:
        files = distribution(component.distribution).files or []
    except PackageNotFoundError:
        files = []
    return own | {f.parts[0] for f in files if len(f.parts) > 1 and f.parts[0].isidentifier()}
