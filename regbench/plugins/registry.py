"""Discovery of plugins and the registry of what they offer.

Every algorithm comes in through the entry point group ``regbench``. Each entry point is loaded on its own, so that a
broken plugin is a row that says why and never stops the host. Components are named by strings and imported on first
use: listing them costs no torch import. :mod:`regbench.plugins.compatibility` says what works together.

``REGBENCH_LOAD_PLUGINS`` names the distributions to load, separated by commas; empty loads the harness alone, which is
the way out where one hangs or ends the process. One that is not official is given up after
``REGBENCH_PLUGINS_TIMEOUT`` seconds.

A name belongs to one component. Where two distributions register the same, it stays with the official one, if one of
them is; otherwise it belongs to neither. The others are called ``distribution:name``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from regbench import API_VERSION, __version__
from regbench.errors import PluginError, UsageError, unknown_name
from regbench.installed import CORE, Offer, canonical, is_official, offers
from regbench.plugins import hookspecs
from regbench.plugins.guard import guarded
from regbench.plugins.official import distribution_of
from regbench.plugins.register import Control
from regbench.texts import is_folder_name, one_line

ENV_LOAD, ENV_TIMEOUT = "REGBENCH_LOAD_PLUGINS", "REGBENCH_PLUGINS_TIMEOUT"
SECONDS = 30
"""How long a plugin may take to load, unless somebody says otherwise."""
ROLES = ("translator", "registrator", "strategy", "dataset", "metric", "command")
_HOOKS = {
    "register_translators": "translator",
    "register_registrators": "registrator",
    "register_strategies": "strategy",
    "register_datasets": "dataset",
    "register_metrics": "metric",
    "register_commands": "command",
}
_CONTROLS: dict[str, tuple[Control, ...]] = {
    "registrator": ("identity", "no-training"),
    "translator": ("no-translation",),
    "strategy": ("no-translator", "supervised"),
}


@dataclass(frozen=True)
class Component:
    """One registered name: what it is and where to import it from; see :class:`regbench.Register` for the fields."""

    role: str
    name: str
    target: str
    summary: str = ""
    paper: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    provides: frozenset[str] = frozenset()
    requires: Mapping[str, frozenset[str]] = field(default_factory=dict)
    published: Mapping[str, frozenset[str]] = field(default_factory=dict)
    control: Control | None = None
    distribution: str = ""
    version: str = ""

    def load(self) -> Any:
        """Import the class or function; raises PluginError naming the plugin and the reason."""
        module, _, attribute = self.target.partition(":")
        try:
            with guarded():
                return getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"{self.role} {self.name!r} of {self.distribution} cannot be imported from {self.target}: "
                f"{_reason(error)}"
            ) from error


@dataclass(frozen=True)
class PluginRow:
    """One entry point: what it registered, or why it could not be loaded."""

    name: str
    distribution: str
    version: str
    module: str
    status: str  # "ok" or "failed"
    reason: str = ""
    components: tuple[tuple[str, str], ...] = ()
    """(role, name) of each, as the plugin registered it."""


class Registry:
    """Every registered component, by role and name."""

    def __init__(self) -> None:
        self._components: dict[str, dict[str, Component]] = {role: {} for role in ROLES}
        self._shared: dict[tuple[str, str], list[str]] = {}
        """The full names of those that share a name, by role and that name."""
        self.plugins: list[PluginRow] = []

    def add(self, component: Component) -> None:
        """Add a component, under its full name ``distribution:name`` where the name is another's too.

        Raises:
            PluginError: its distribution has a component of this role and name already.
        """
        self._refuse_repeated(component)
        known, key = self._components[component.role], (component.role, component.name)
        other = known.get(component.name)
        if other is None and key not in self._shared:
            known[component.name] = component
            return
        if other is not None and not is_official(other.distribution):
            del known[component.name]
            self._put(other, key)
        self._put(component, key)

    def _refuse_repeated(self, component: Component) -> None:
        other = self.find(component.role, component.name)
        twice = other is not None and other.distribution == component.distribution
        if twice or self.find(component.role, _full_name(component)):
            raise PluginError(
                f"{component.role} {component.name!r} is already registered by {component.distribution}; one of its "
                "plugins has to take another name"
            )

    def _put(self, component: Component, key: tuple[str, str]) -> None:
        full = _full_name(component)
        self._components[component.role][full] = replace(component, name=full)
        self._shared.setdefault(key, []).append(full)

    def get(self, role: str, name: str) -> Component:
        """Look up a name, or ``distribution:name``; raises UsageError naming the closest known names."""
        known = self._components[role]
        distribution, _, plain = name.partition(":")
        if name not in known and plain in known and canonical(known[plain].distribution) == canonical(distribution):
            return known[plain]
        if name not in known and (shared := self._shared.get((role, name))):
            raise UsageError(f"{role} {name!r} is registered by several plugins: write {' or '.join(shared)}")
        if name not in known and (official := distribution_of(role, name)) and not self._has(official):
            chosen = os.environ.get(ENV_LOAD)
            told = f"is not installed: pip install {official}, or 'regbench[all]'"
            told = told if chosen is None else f"{ENV_LOAD}={chosen} leaves out"
            raise UsageError(f"{role} {name!r} is part of {official}, which {told}")
        if name not in known:
            broken = [f"{p.name} ({p.reason})" for p in self.plugins if p.status != "ok"]
            hint = f"Plugins that failed to load: {'; '.join(broken)}." if broken else ""
            raise unknown_name(role, name, known, hint)
        return known[name]

    def _has(self, distribution: str) -> bool:
        return any(canonical(plugin.distribution) == distribution for plugin in self.plugins)

    def find(self, role: str, name: str) -> Component | None:
        """Look a name up; None where no installed plugin registers it, or where several do."""
        return self._components[role].get(name)

    def shared_names(self, distribution: str) -> list[str]:
        """The full names that components of a distribution go by, because their own are another's too; sorted."""
        full = {name for names in self._shared.values() for name in names}
        return sorted(name for name in full if name.startswith(f"{distribution}:"))

    def all(self, role: str) -> list[Component]:
        """Every component of a role, sorted by name."""
        return [self._components[role][name] for name in sorted(self._components[role])]

    def controls(self, control: Control) -> list[Component]:
        """The components that are registered as this control, sorted by name."""
        return [c for role in _CONTROLS for c in self.all(role) if c.control == control]

    @property
    def roles(self) -> tuple[str, ...]:
        """What components can be."""
        return ROLES

    def load_plugin(self, offer: Offer, seconds: float | None = None) -> None:
        """Import one plugin and add everything that it registers; nothing, if any of it is wrong.

        Args:
            offer: an entry point, or a distribution that cannot be read, which becomes a failed row.
            seconds: how long it may take.
        """
        entry, where = offer.entry, (offer.distribution, offer.version)
        name, module = (entry.name, entry.value) if entry else (offer.distribution, "?")
        try:
            if entry is None or offer.problem:
                raise PluginError(offer.problem)
            with guarded(seconds):
                components = _components_of(entry, *where)
            for component in components:
                self._refuse_repeated(component)
            for component in components:
                self.add(component)
            names = tuple((c.role, c.name) for c in components)
            row = PluginRow(name, *where, module, "ok", components=names)
        except Exception as error:
            row = PluginRow(name, *where, module, "failed", _reason(error))
        self.plugins.append(row)


def _reason(error: Exception) -> str:
    """Why a plugin cannot be used, in one line."""
    return one_line(str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}")


def _full_name(component: Component) -> str:
    return f"{component.distribution}:{component.name}"


def _components_of(entry: EntryPoint, distribution: str, version: str) -> list[Component]:
    module = entry.load()
    stated = getattr(module, "regbench_api_version", API_VERSION)
    if stated != API_VERSION:
        raise PluginError(f"needs plugin API {stated}, this regbench speaks {API_VERSION}; update one of the two")
    manager = pluggy.PluginManager("regbench")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=entry.name)
    manager.check_pending()  # a misspelt hook would otherwise be silently ignored
    components: list[Component] = []
    for hook, role in _HOOKS.items():
        getattr(manager.hook, hook)(register=_Collector(role, distribution, version, components))
    if not components:
        raise PluginError("registers nothing; is a @hookimpl missing?")
    return components


@dataclass
class _Collector:
    """The ``register`` callback a hook receives."""

    role: str
    distribution: str
    version: str
    components: list[Component]

    def __call__(
        self,
        name: str,
        target: str,
        *,
        summary: str = "",
        paper: str = "",
        config: Mapping[str, Any] | None = None,
        provides: Iterable[str] = (),
        requires: Mapping[str, Iterable[str]] | None = None,
        published: Mapping[str, Iterable[str]] | None = None,
        control: Control | None = None,
    ) -> None:
        if not isinstance(name, str) or not is_folder_name(name) or name != one_line(name):
            raise PluginError(
                f"{self.role} {name!r}: a name is one line of printable text without separators of folders"
            )
        if not isinstance(target, str) or target.count(":") != 1:
            raise PluginError(f"{self.role} {name!r}: the target must be 'package.module:Name', got {target!r}")
        self._check_types(name, {"summary": summary, "paper": paper}, provides, requires, published, config)
        if any(c.role == self.role and c.name == name for c in self.components):
            raise PluginError(f"{self.role} {name!r} is registered twice")
        if unknown := {*(requires or {}), *(published or {})} - {"registrator", "translator"}:
            raise PluginError(
                f"{self.role} {name!r}: 'requires' and 'published' take the roles registrator and translator, "
                f"not {', '.join(map(repr, sorted(unknown)))}"
            )
        if control is not None and control not in (allowed := _CONTROLS.get(self.role, ())):
            rule = f"can be the control {' or '.join(map(repr, allowed))}" if allowed else "cannot be a control"
            raise PluginError(f"{self.role} {name!r}: a {self.role} {rule}, got control={control!r}")
        component = Component(
            role=self.role,
            name=name,
            target=target,
            summary=one_line(summary),
            paper=one_line(paper),
            config=dict(config or {}),
            provides=frozenset(provides),
            requires={role: frozenset(words) for role, words in (requires or {}).items()},
            published={role: frozenset(names) for role, names in (published or {}).items()},
            control=control,
            distribution=self.distribution,
            version=self.version,
        )
        self.components.append(component)

    def _check_types(
        self, name: str, words: Mapping[str, Any], provides: Any, requires: Any, published: Any, config: Any
    ) -> None:
        """Raise PluginError for a value of another type than :class:`regbench.Register` says; names it."""
        wrong = next((key for key, word in words.items() if not isinstance(word, str)), None)
        if wrong is not None:
            raise PluginError(f"{self.role} {name!r}: {wrong} must be a text, got {words[wrong]!r}")
        named = {"provides": {"": provides}, "requires": requires or {}, "published": published or {}}
        for key, lists in named.items():
            if not isinstance(lists, Mapping):
                raise PluginError(f"{self.role} {name!r}: {key} must be a mapping of roles to names, got {lists!r}")
            for listed in lists.values():
                if isinstance(listed, str) or not all(isinstance(word, str) for word in listed):
                    raise PluginError(f"{self.role} {name!r}: {key} lists names, such as ('train',), got {listed!r}")
        try:
            if not isinstance(config or {}, Mapping):
                raise TypeError(f"{type(config).__name__} is no mapping")
            json.dumps(dict(config or {}), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise PluginError(f"{self.role} {name!r}: config must be settings that JSON can hold: {error}") from None


def _is_selected(offer: Offer, names: str | None) -> bool:
    """Whether ``REGBENCH_LOAD_PLUGINS`` (None where it is not set) lets a plugin in; the harness's own always is."""
    chosen = None if names is None else {canonical(name) for name in names.split(",")}
    return chosen is None or offer.entry is CORE or canonical(offer.distribution) in chosen


def time_limit() -> float | None:
    """Seconds a plugin may take to load, from ``REGBENCH_PLUGINS_TIMEOUT``; None for no limit.

    Raises:
        UsageError: it is no number of seconds.
    """
    text = os.environ.get(ENV_TIMEOUT) or str(SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UsageError(f"{ENV_TIMEOUT}={text!r} (--plugins-timeout): write seconds, such as 10, or 0 for no limit")
    return seconds or None


_IDENTITY = Component(
    role="registrator",
    name="identity",
    target="regbench.evaluation.identity:Identity",
    summary="no motion at all: the line every method must beat",
    control="identity",
    distribution="regbench",
    version=__version__,
)
"""What the harness judges where ``regbench-registrators``, which has the same, is not there."""


@cache
def registry() -> Registry:
    """The registry of this process, filled on first use."""
    names, seconds = os.environ.get(ENV_LOAD), time_limit()
    filled = Registry()
    for offer in offers():
        if _is_selected(offer, names):
            filled.load_plugin(offer, None if offer.official else seconds)
    if filled.find(_IDENTITY.role, _IDENTITY.name) is None:
        filled.add(_IDENTITY)
    return filled
