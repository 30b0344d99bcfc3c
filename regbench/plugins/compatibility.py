"""What works together, decided from what plugins register, without importing a component."""

from __future__ import annotations

from collections.abc import Iterable

from regbench.errors import UsageError
from regbench.plugins.registry import Component


def incompatible(strategy: Component | None, translator: Component | None, registrator: Component) -> str | None:
    """Why three components do not work together, or None; decided without importing any of them."""
    if strategy is None:
        return None if translator is None else "without a strategy nothing uses a translator"
    if "registrator" in strategy.requires:
        missing = strategy.requires["registrator"] - registrator.provides
        if missing:
            return f"{strategy.name} needs a registrator with {_listed(missing)}; {registrator.name} has it not"
    if "translator" not in strategy.requires:
        return None if translator is None else f"{strategy.name} uses no translator"
    if translator is None:
        return f"{strategy.name} needs a translator"
    missing = strategy.requires["translator"] - translator.provides
    if missing:
        return f"{strategy.name} needs a translator with {_listed(missing)}; {translator.name} has it not"
    return None


def of_no_paper(strategy: Component | None, translator: Component | None, registrator: Component) -> bool:
    """Whether a strategy is combined with a component that no paper reports it with, as far as the strategy says."""
    if strategy is None:
        return False
    chosen = {"registrator": registrator, "translator": translator}
    return any((c := chosen[role]) is not None and c.name not in names for role, names in strategy.published.items())


def check_compatible(strategy: Component | None, translator: Component | None, registrator: Component) -> None:
    """Raise UsageError where :func:`incompatible` has a reason."""
    if reason := incompatible(strategy, translator, registrator):
        raise UsageError(f"{reason}. `regbench plugins matrix` shows what works together")


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
