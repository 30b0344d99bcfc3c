"""Installed distributions that offer plugins, found so that one broken distribution hides no other.

The harness's own components need no metadata. Official distributions come before all others, so that nobody takes the
name of one of their components.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from regbench import __version__

GROUP = "regbench"
CORE = EntryPoint("core", "regbench.plugins.builtin", GROUP)
OFFICIAL = frozenset(
    f"regbench-{part}" for part in ("datasets", "matchers", "registrators", "strategies", "translators")
)
"""Distributions of this project beside the harness."""


@dataclass(frozen=True)
class Offer:
    """An entry point of the group ``regbench``, or a distribution that cannot be read."""

    distribution: str
    version: str
    entry: EntryPoint | None
    """None where the distribution is broken."""
    problem: str = ""
    """Why it cannot be used; empty where it can."""

    @property
    def official(self) -> bool:
        """Whether it is one of this project's, by its name and the package it names."""
        if self.entry is None:
            return False
        package = self.entry.value.partition(":")[0].partition(".")[0]
        return is_official(self.distribution) and package == canonical(self.distribution).replace("-", "_")


def offers() -> list[Offer]:
    """What is installed: the harness, official distributions, then all others by name; broken ones last."""
    found, seen = [Offer(GROUP, __version__, CORE)], {GROUP}
    for distribution in distributions():
        offered = list(_of(distribution))
        for offer in offered:
            name, own = canonical(offer.distribution), offer.entry is not None and offer.entry.value == CORE.value
            if name == GROUP and not own:
                found.append(replace(offer, problem="calls itself regbench, which is the name of the harness"))
            elif name not in seen:
                found.append(offer)
        # Another copy further down the path is not what Python imports.
        seen |= {canonical(offer.distribution) for offer in offered if not offer.problem}
    return sorted(found, key=_order)


def is_official(distribution: str) -> bool:
    """Whether a distribution is named as one of this project's."""
    return canonical(distribution) == GROUP or canonical(distribution) in OFFICIAL


def versions() -> dict[str, str]:
    """Versions of the distributions that offer plugins, by name."""
    return {offer.distribution: offer.version for offer in offers() if offer.entry is not None and not offer.problem}


def canonical(distribution: str) -> str:
    """The name of a distribution in the form that package indexes compare: ``my-plugin`` for ``My_Plugin``."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def _order(offer: Offer) -> tuple[bool, bool, bool, str, str]:
    entry = offer.entry
    return entry is not CORE, not offer.official, entry is None, offer.distribution, entry.name if entry else ""


def _of(distribution: Distribution) -> Iterator[Offer]:
    """The offers of one distribution; none where it is not about regbench."""
    try:
        if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or "").replace(" ", ""):
            return
        entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
    except Exception as error:  # of many kinds, for lines without "=", bytes that are no text, files that are folders
        yield Offer(_name(distribution), _version(distribution), None, f"its entry_points.txt cannot be read: {error}")
        return
    for entry in entries:
        problem = "" if isinstance(_metadata(distribution, "Name"), str) else "its METADATA names no distribution"
        yield Offer(_name(distribution), _version(distribution), entry, problem)


def _name(distribution: Distribution) -> str:
    """The name of a distribution; that of its folder where its metadata say none."""
    folder: Any = getattr(distribution, "_path", None)
    name = _metadata(distribution, "Name")
    return name if isinstance(name, str) and name else str(getattr(folder, "name", "?")).split("-")[0]


def _version(distribution: Distribution) -> str:
    version = _metadata(distribution, "Version")
    return version if isinstance(version, str) else "?"


def _metadata(distribution: Distribution, field: str) -> object:
    try:
        return distribution.metadata[field]
    except Exception:  # no METADATA, or none that is text
        return None
