"""A board as data: committed runs in sections (one set of test pairs) of rows (one configuration)."""

from __future__ import annotations

import csv
import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from regbench.errors import DataError
from regbench.metrics import CORE, METRIC_VERSION, MeanMetric, MedianMetric
from regbench.metrics.types import Floats
from regbench.results import Identity, Pairs, Result, load_result, read_pairs
from regbench.results.schema import Component

SCORES = {
    name: metric
    for name, metric in CORE.items()
    if isinstance(metric, MeanMetric) and not isinstance(metric, MedianMetric)
}
"""The metrics of a board: means over pairs, so that seeds can be averaged pair by pair."""

Reported = list[dict[str, str]]


class Settings(BaseModel):
    """``board.toml``: what a person decides about a board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    description: str = ""
    notes: list[str] = []
    manifest_sha256: list[str] = []
    """The test manifests that are current; empty: the one most runs of a data set and protocol use."""


@dataclass(frozen=True)
class Entry:
    """A committed run and its test pairs (None unless the run is ok)."""

    result: Result
    pairs: Pairs | None


@dataclass(frozen=True)
class Row:
    """The runs of one configuration, which differ in their seed alone."""

    key: str
    entries: tuple[Entry, ...]

    @property
    def identity(self) -> Identity:
        """Of the first run; the seed means nothing here."""
        return self.entries[0].result.identity

    @property
    def of_no_paper(self) -> bool:
        """Whether no paper reports this combination of components."""
        return any(entry.result.training.get("of_no_paper", False) for entry in self.entries)

    @property
    def finished(self) -> list[Entry]:
        """The runs that are ok, by seed."""
        return [entry for entry in self.entries if entry.pairs is not None]

    @property
    def failures(self) -> list[Result]:
        """The runs that are not."""
        return [entry.result for entry in self.entries if entry.pairs is None]

    @cached_property
    def scores(self) -> dict[str, Floats]:
        """``(N,)`` by metric: each pair's score, averaged over the seeds. Needs a finished run."""
        errors = [entry.pairs.errors for entry in self.entries if entry.pairs is not None]
        return {name: np.mean([metric.per_pair(e) for e in errors], axis=0) for name, metric in SCORES.items()}

    @cached_property
    def seed_maces(self) -> list[float]:
        """MACE of each finished run in pixels."""
        return [SCORES["mace"](entry.pairs.errors) for entry in self.entries if entry.pairs is not None]

    def mean_of(self, block: str, name: str) -> float | None:
        """Mean over the finished runs of a number in ``timing`` or ``training``; None where absent."""
        found = [getattr(entry.result, block).get(name) for entry in self.finished]
        known = [float(v) for v in found if isinstance(v, int | float) and not isinstance(v, bool)]
        return float(np.mean(known)) if known else None


@dataclass(frozen=True)
class Group:
    """What the rows of a section share: data set, manifest and geometry. Pairing is a matter of training."""

    dataset: str
    patch: int
    rho: int
    source: str
    manifest: str

    @classmethod
    def of(cls, identity: Identity) -> Group:
        """The group a run belongs to."""
        protocol, test = identity.protocol, identity.test_dataset
        return cls(test.name, protocol.patch, protocol.rho, protocol.source, test.manifest_sha256)

    @property
    def question(self) -> tuple[str, int, int, str]:
        """The group without its manifest: of each, one manifest is current."""
        return (self.dataset, self.patch, self.rho, self.source)


@dataclass(frozen=True)
class Board:
    """Everything committed under ``leaderboards/results/<name>/``."""

    name: str
    settings: Settings
    sections: dict[Group, list[Row]]
    stale: list[tuple[Result, str]]
    """Runs not comparable with the sections, and why."""
    reported: Reported
    """Numbers printed in papers."""


def load_board(folder: Path) -> Board:
    """Read a board.

    Raises:
        DataError: a file is broken, or runs that share a manifest hold different pairs.
    """
    entries = []
    for path in sorted(folder.glob("*.json")):
        result = load_result(path, committed=True)
        pairs = read_pairs(path.with_suffix(".pairs.h5")) if result.status == "ok" else None
        entries.append(Entry(result, pairs))
    settings = _settings(folder / "board.toml")
    current = _current_manifests(entries, settings)
    sections: dict[Group, dict[str, list[Entry]]] = {}
    stale = []
    for entry in entries:
        group = Group.of(entry.result.identity)
        if entry.result.identity.metric_version != METRIC_VERSION:
            stale.append((entry.result, f"metric version {entry.result.identity.metric_version}"))
        elif group.manifest not in current[group.question]:
            stale.append((entry.result, "another test manifest"))
        else:
            sections.setdefault(group, {}).setdefault(row_key(entry.result.identity), []).append(entry)
    grouped = {}
    for group in sorted(sections, key=lambda g: (*g.question, g.manifest)):
        rows = [
            Row(key, tuple(sorted(found, key=lambda e: e.result.identity.seed)))
            for key, found in sorted(sections[group].items())
        ]
        _require_same_pairs(rows)
        grouped[group] = rows
    return Board(folder.name, settings, grouped, stale, _reported(folder / "reported.csv"))


def row_key(identity: Identity) -> str:
    """What makes a row: the identity without its seed, as canonical JSON."""
    return json.dumps(identity.model_dump(mode="json", exclude={"seed"}), sort_keys=True)


def labels(rows: list[Row], role: str) -> dict[str, str]:
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


def _current_manifests(entries: list[Entry], settings: Settings) -> dict[tuple[str, int, int, str], set[str]]:
    groups = [Group.of(entry.result.identity) for entry in entries]
    if settings.manifest_sha256:
        return {group.question: set(settings.manifest_sha256) for group in groups}
    used = Counter(groups)
    ordered = sorted(used, key=lambda group: (-used[group], group.manifest))
    current: dict[tuple[str, int, int, str], set[str]] = {}
    for group in ordered:  # the most used comes first; a tie goes to the smaller hash, which is at least stable
        current.setdefault(group.question, {group.manifest})
    return current


def _require_same_pairs(rows: list[Row]) -> None:
    finished = [entry for row in rows for entry in row.finished]
    for entry in finished[1:]:
        first, other = finished[0].pairs, entry.pairs
        assert first is not None
        assert other is not None
        same = np.array_equal(first.image, other.image) and np.array_equal(first.displacement, other.displacement)
        if not same:
            raise DataError(
                f"runs {finished[0].result.run_id} and {entry.result.run_id} name the same test manifest but "
                "their pairs.h5 hold different pairs; evaluate both again"
            )


def _settings(path: Path) -> Settings:
    if not path.exists():
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise DataError(f"{path} is not a board description: {' '.join(str(error).split())}") from error


def _reported(path: Path) -> Reported:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    needed = {"paper", "dataset", "method", "metric", "value"}
    if rows and (missing := needed - {key for key, value in rows[0].items() if value is not None}):
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return rows
