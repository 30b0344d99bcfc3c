"""A board as data: committed runs in sections (one set of test pairs) of rows (one configuration)."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from regbench.errors import DataError
from regbench.metrics import CORE, METRIC_VERSION, MeanMetric, MedianMetric
from regbench.metrics.types import Floats
from regbench.report.printed import Paper, load_paper
from regbench.results import Identity, Pairs, Result, load_result, read_pairs, write_text
from regbench.results.lineage import row_key

SETTINGS = "board.toml"
SCORES = {
    name: metric
    for name, metric in CORE.items()
    if isinstance(metric, MeanMetric) and not isinstance(metric, MedianMetric)
}
"""The metrics of a board: means over pairs, so that seeds can be averaged pair by pair."""


class Settings(BaseModel):
    """``board.toml``: what a person decides about a board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    description: str = ""
    notes: list[str] = []
    manifest_sha256: list[str] = []
    """The test manifests that are current; empty: the one most runs of a data set and protocol use."""
    papers: list[str] = []
    """Recipes whose ``paper.csv`` holds numbers to print beside ours."""


@dataclass(frozen=True)
class Entry:
    """A committed run and its test pairs (None unless the run is ok)."""

    result: Result
    pairs: Pairs | None


@dataclass(frozen=True)
class Row:
    """The runs of one configuration, which differ in nothing but seeds: their own and those of their ancestors."""

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
    def by_run(self) -> dict[str, list[float]]:
        """By metric: the score of each finished run."""
        errors = [entry.pairs.errors for entry in self.entries if entry.pairs is not None]
        return {name: [metric(e) for e in errors] for name, metric in SCORES.items()}

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
    papers: list[Paper]
    """Numbers printed in papers, and what their names are here."""


def write_settings(folder: Path, settings: Settings) -> None:
    """Write a board's ``board.toml``: what is set, setting by setting."""
    told = settings.model_dump(exclude_unset=True)
    # JSON strings and lists of strings are TOML, too.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in told.items()]
    write_text(folder / SETTINGS, "".join(lines))


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
    settings = _settings(folder / SETTINGS)
    current = _current_manifests(entries, settings)
    kept, stale = [], []
    for entry in entries:
        group = Group.of(entry.result.identity)
        if entry.result.identity.metric_version != METRIC_VERSION:
            stale.append((entry.result, f"metric version {entry.result.identity.metric_version}"))
        elif group.manifest not in current[group.question]:
            stale.append((entry.result, "another test manifest"))
        else:
            kept.append(entry)
    recipes = folder.parent.parent / "recipes"
    papers = [load_paper(recipes / name) for name in settings.papers]
    return Board(folder.name, settings, rows_of(kept), stale, papers)


def rows_of(entries: Sequence[Entry]) -> dict[Group, list[Row]]:
    """Runs in rows by configuration, rows in groups by their test pairs, all in a stable order.

    Raises:
        DataError: runs that share a manifest hold different pairs.
    """
    found: dict[Group, dict[str, list[Entry]]] = {}
    for entry in entries:
        found.setdefault(Group.of(entry.result.identity), {}).setdefault(row_key(entry.result), []).append(entry)
    grouped = {}
    for group in sorted(found, key=lambda g: (*g.question, g.manifest)):
        rows = [
            Row(key, tuple(sorted(same, key=lambda e: (e.result.identity.seed, e.result.run_id))))
            for key, same in sorted(found[group].items())
        ]
        _require_same_pairs(rows)
        grouped[group] = rows
    return grouped


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
    """Runs that name one manifest hold its pairs: the manifest itself is not on the board, but they can be compared."""
    found: dict[bytes, list[str]] = {}
    for entry in (entry for row in rows for entry in row.finished):
        assert entry.pairs is not None
        content = entry.pairs.displacement.tobytes() + entry.pairs.image.tobytes()
        found.setdefault(content, []).append(entry.result.run_id)
    if len(found) > 1:
        *few, most = sorted(found.values(), key=len)
        odd = ", ".join(sorted(run_id for runs in few for run_id in runs))
        raise DataError(
            f"{odd}: not the pairs of the {len(most)} other run{'s' if len(most) > 1 else ''} that name the same test "
            f"manifest ({', '.join(sorted(most))}); evaluate what differs again or take it off the board"
        )


def _settings(path: Path) -> Settings:
    if not path.exists():
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise DataError(f"{path} is not a board description: {' '.join(str(error).split())}") from error
