"""What rows are called: components with the settings in which namesakes differ, data, and ancestors."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from regbench.report.board import Row
from regbench.results import Identity
from regbench.results.schema import Component

ROLES = ("translator", "registrator", "strategy")


@dataclass(frozen=True)
class Names:
    """The words of a row; empty where it has no such part."""

    translator: str
    registrator: str
    strategy: str
    trained_on: str
    """Data set, and what the row starts from: ``vedai``, ``vedai from mimgcd × mcnet × sshnet``."""

    def __str__(self) -> str:
        """The combination in one line."""
        return " × ".join(part for part in (self.translator, self.registrator, self.strategy) if part)


def names_of(rows: Sequence[Row]) -> dict[str, Names]:
    """Names of the rows of a section, by row key. Rows that would look the same get a mark, of their configuration."""
    components = {role: _components(rows, role) for role in ROLES}
    named = {
        row.key: Names(**{role: components[role][row.key] for role in ROLES}, trained_on=_trained_on(row))
        for row in rows
    }
    looks = {row.key: (named[row.key], *_shown_beside(row.identity)) for row in rows}
    alike = Counter(looks.values())
    for row in rows:
        if alike[looks[row.key]] > 1:
            mark = hashlib.sha256(row.key.encode()).hexdigest()[:6]
            named[row.key] = replace(named[row.key], trained_on=f"{named[row.key].trained_on} ({mark})".strip())
    return named


def _components(rows: Sequence[Row], role: str) -> dict[str, str]:
    """Name of each row's component of a role, by row key, with the settings in which its namesakes differ."""
    found: dict[str, Component | None] = {row.key: getattr(row.identity, role) for row in rows}
    facts = {key: _facts(component) for key, component in found.items() if component}
    named = {}
    for key, component in found.items():
        if component is None:
            named[key] = ""
            continue
        namesakes = [facts[k] for k, c in found.items() if c and c.name == component.name]
        differ = sorted(
            fact
            for fact in {name for namesake in namesakes for name in namesake}
            if len({namesake.get(fact) for namesake in namesakes}) > 1
        )
        shown = ", ".join(f"{fact}={facts[key][fact]}" for fact in differ if fact in facts[key])
        named[key] = component.name + (f" ({shown})" if shown else "")
    return named


def _facts(component: Component) -> dict[str, str]:
    facts = {name: json.dumps(value, sort_keys=True).strip('"') for name, value in component.config.items()}
    weights = component.weights_sha256
    return {**facts, "version": component.version, **({"weights": weights[:8]} if weights else {})}


def _trained_on(row: Row) -> str:
    identity, lineage = row.identity, row.entries[0].result.lineage
    own = [getattr(identity, role) for role in ROLES]
    starts = []
    for name in identity.ancestors:
        if name not in lineage:
            starts.append(name[:12])
            continue
        ancestor = Identity.model_validate(lineage[name])
        parts = [getattr(ancestor, role) for role in ROLES]
        if parts != own:  # a run that is judged again on other data starts from itself
            starts.append(" × ".join(part.name for part in parts if part))
    trained = identity.train_dataset.name if identity.train_dataset else ""
    return trained + (f" from {', '.join(starts)}" if starts else "")


def _shown_beside(identity: Identity) -> tuple[str, str, str]:
    """What else a row of a board says of its identity."""
    return identity.supervision, identity.protocol.pairs_in_words, identity.budget
