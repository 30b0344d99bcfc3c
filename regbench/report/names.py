"""Names of rows: their components, with the settings in which namesakes differ, their data and their ancestors."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from regbench.report.board import BoardRow
from regbench.results import Identity
from regbench.results.schema import ROLES, Component


@dataclass(frozen=True)
class RowNames:
    """The names a row shows; empty where it has no such component."""

    translator: str
    registrator: str
    strategy: str
    trained_on: str
    """Training data set, and the runs or weights it started from: ``vedai from mimgcd × mcnet × sshnet``."""

    def __str__(self) -> str:
        """The combination in one line."""
        return " × ".join(part for part in (self.translator, self.registrator, self.strategy) if part)


def names_of(rows: Sequence[BoardRow]) -> dict[str, RowNames]:
    """Names of the rows of a section, by row key. Rows that would look the same get a hash of their configuration."""
    components = {role: _component_names(rows, role) for role in ROLES}
    names = {
        row.key: RowNames(**{role: components[role][row.key] for role in ROLES}, trained_on=_trained_on(row))
        for row in rows
    }
    looks = {row.key: (names[row.key], *_shown_beside(row.identity)) for row in rows}
    alike = Counter(looks.values())
    for row in rows:
        if alike[looks[row.key]] > 1:
            mark = hashlib.sha256(row.key.encode()).hexdigest()[:6]
            names[row.key] = replace(names[row.key], trained_on=f"{names[row.key].trained_on} ({mark})".strip())
    return names


def _component_names(rows: Sequence[BoardRow], role: str) -> dict[str, str]:
    """Name of each row's component of a role, by row key, with the settings in which its namesakes differ."""
    components: dict[str, Component | None] = {row.key: getattr(row.identity, role) for row in rows}
    settings = {key: _settings_of(component) for key, component in components.items() if component}
    names = {}
    for key, component in components.items():
        if component is None:
            names[key] = ""
            continue
        namesakes = [settings[k] for k, c in components.items() if c and c.name == component.name]
        differ = sorted(
            setting
            for setting in {name for namesake in namesakes for name in namesake}
            if len({namesake.get(setting) for namesake in namesakes}) > 1
        )
        shown = ", ".join(f"{setting}={settings[key][setting]}" for setting in differ if setting in settings[key])
        names[key] = component.name + (f" ({shown})" if shown else "")
    return names


def _settings_of(component: Component) -> dict[str, str]:
    """Settings, version, weights and files of a component as text."""
    settings = {name: json.dumps(value, sort_keys=True).strip('"') for name, value in component.config.items()}
    weights = component.weights_sha256
    files = {name: sha256[:8] for name, sha256 in component.files.items()}
    return {**settings, **files, "version": component.version, **({"weights": weights[:8]} if weights else {})}


def _trained_on(row: BoardRow) -> str:
    identity, lineage = row.identity, row.runs[0].result.lineage
    ancestors = []
    for name in identity.ancestors:
        if name not in lineage:
            ancestors.append(name[:12])
            continue
        ancestor = Identity.model_validate(lineage[name])
        if ancestor.components != identity.components:  # a run judged again on other data has itself as ancestor
            ancestors.append(" × ".join(ancestor.component_names))
    dataset = identity.train_dataset.name if identity.train_dataset else ""
    dataset += "" if identity.precision == "fp32" else f" in {identity.precision}"
    return dataset + (f" from {', '.join(ancestors)}" if ancestors else "")


def _shown_beside(identity: Identity) -> tuple[str, str, str]:
    """The columns of a board that show the identity beside the names."""
    return identity.supervision, identity.protocol.pairs_in_words, identity.budget
