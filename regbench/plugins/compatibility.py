"""The rules of what works together, applied to what plugins register; no component is imported."""

from __future__ import annotations

from collections.abc import Iterable

from regbench.errors import UsageError
from regbench.plugins.registry import Component


def incompatible(strategy: Component | None, translator: Component | None, registrator: Component) -> str | None:
    """Why three components do not work together, in one sentence; None where they do."""
    if strategy is None:
        return None if translator is None else "without a strategy nothing uses a translator"
    if "registrator" in strategy.requires:
        missing = strategy.requires["registrator"] - registrator.provides
        if missing:
            return f"{strategy.name} needs a registrator with {_listed(missing)}, which {registrator.name} lacks"
    if "translator" not in strategy.requires:
        return None if translator is None else f"{strategy.name} uses no translator"
    if translator is None:
        return f"{strategy.name} needs a translator"
    missing = strategy.requires["translator"] - translator.provides
    if missing:
        return f"{strategy.name} needs a translator with {_listed(missing)}, which {translator.name} lacks"
    return None


def unpublished_combination(strategy: Component | None, translator: Component | None, registrator: Component) -> bool:
    """Whether a strategy runs with a component that no paper reports it with, as far as ``published`` says."""
    if strategy is None:
        return False
    partners = {"registrator": registrator, "translator": translator}
    return any((c := partners[role]) is not None and c.name not in names for role, names in strategy.published.items())


def check_compatible(strategy: Component | None, translator: Component | None, registrator: Component) -> None:
    """Raise UsageError with the reason of :func:`incompatible`, where there is one."""
    if reason := incompatible(strategy, translator, registrator):
        raise UsageError(f"{reason}. `regbench plugins matrix` shows what works together")


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
