"""A board as data: committed runs, grouped into sections (one set of test pairs) and rows (one configuration)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regbench.contained import refuse_links, safe_name
from regbench.errors import DataError
from regbench.metrics import CORE, METRIC_VERSION, MeanMetric, MedianMetric
from regbench.metrics.types import Floats
from regbench.report.printed import Paper, load_paper
from regbench.report.trust import mark_of, read_mark, records_in
from regbench.results import Identity, Pairs, Result, load_result, read_pairs, write_text
from regbench.results.lineage import row_key
from regbench.results.remeasure import FRAMES_AS_IMAGES

SETTINGS_FILE = "board.toml"
BOARD_METRICS = {
    name: metric
    for name, metric in CORE.items()
    if isinstance(metric, MeanMetric) and not isinstance(metric, MedianMetric)
}
"""The metrics of a board by name: means over pairs, so that seeds can be averaged pair by pair."""


class BoardSettings(BaseModel):
    """``board.toml``: what a person writes about a board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    description: str = ""
    notes: list[str] = []
    links: dict[str, Annotated[str, Field(pattern=r"^(https://|[\w.][\w./-]*$)")]] = {}
    """What to read next, by its name: https addresses, and paths from the folder of the pages."""
    manifest_sha256: list[str] = []
    """The current test manifests; runs on others are stale. Empty: all are current, each with a section of its own."""
    controls: list[str] = []
    """Names of the components whose rows every section needs, else its page says that it is incomplete: identity,
    matchers that need no training, controls and the supervised reference. Empty: one of each kind is enough."""
    papers: list[str] = []
    """Folders of ``recipes/`` whose ``paper.csv`` holds numbers to print beside ours."""


@dataclass(frozen=True)
class StoredRun:
    """A run that was read from disk."""

    result: Result
    pairs: Pairs | None
    """The test pairs; None unless the run is ok."""
    recomputed: bool = False
    """Whether its weights were found to give these pairs, see :mod:`regbench.report.trust`."""


@dataclass(frozen=True)
class BoardRow:
    """The runs of one configuration. They differ in seeds alone: their own and those of their ancestors."""

    key: str
    runs: tuple[StoredRun, ...]
    """Ordered by seed."""

    @property
    def identity(self) -> Identity:
        """The identity of the first run; its seed stands for no other run."""
        return self.runs[0].result.identity

    @property
    def lineage(self) -> Mapping[str, Mapping[str, Any]]:
        """Identities of the ancestors of the first run, by run id."""
        return self.runs[0].result.lineage

    @property
    def unpublished_combination(self) -> bool:
        """Whether no paper reports this combination of components."""
        return any(run.result.training.get("of_no_paper", False) for run in self.runs)

    @property
    def finished(self) -> list[StoredRun]:
        """The runs that are ok."""
        return [run for run in self.runs if run.pairs is not None]

    @property
    def failures(self) -> list[Result]:
        """The results of all other runs."""
        return [run.result for run in self.runs if run.pairs is None]

    @cached_property
    def pair_scores(self) -> dict[str, Floats]:
        """``(N,)`` by metric: score of each pair, averaged over the finished runs, of which there must be one."""
        errors = [run.pairs.errors for run in self.runs if run.pairs is not None]
        return {name: np.mean([metric.per_pair(e) for e in errors], axis=0) for name, metric in BOARD_METRICS.items()}

    @cached_property
    def run_scores(self) -> dict[str, list[float]]:
        """By metric: the score of each finished run."""
        errors = [run.pairs.errors for run in self.runs if run.pairs is not None]
        return {name: [metric(e) for e in errors] for name, metric in BOARD_METRICS.items()}

    def mean_over_runs(self, block: Literal["timing", "training"], name: str) -> float | None:
        """Mean over the finished runs of the number ``name`` in a block of their results; None where no run has it."""
        values = [getattr(run.result, block).get(name) for run in self.finished]
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        return float(np.mean(numbers)) if numbers else None


@dataclass(frozen=True)
class Section:
    """The test pairs that all rows of a section share: data set, geometry and manifest.

    Pairing is not part of it, because it concerns training pairs.
    """

    dataset: str
    patch: int
    rho: int
    source: str
    manifest: str

    @classmethod
    def of(cls, identity: Identity) -> Section:
        """The section a run belongs to."""
        protocol, test = identity.protocol, identity.test_dataset
        return cls(
            dataset=test.name,
            patch=protocol.patch,
            rho=protocol.rho,
            source=protocol.source,
            manifest=test.manifest_sha256,
        )

    @property
    def without_manifest(self) -> tuple[str, int, int, str]:
        """Data set and geometry. Among sections that agree in these, one manifest is current."""
        return (self.dataset, self.patch, self.rho, self.source)


@dataclass(frozen=True)
class Board:
    """Everything committed under ``leaderboards/results/<name>/``."""

    name: str
    settings: BoardSettings
    sections: dict[Section, list[BoardRow]]
    stale: list[tuple[Result, str]]
    """Runs that are not comparable with those of the sections, and why."""
    papers: list[Paper]
    """Numbers printed in papers, and the components that the papers' names stand for."""


def write_settings(folder: Path, settings: BoardSettings) -> None:
    """Write ``board.toml`` with the settings that are set."""
    values = settings.model_dump(exclude_unset=True)
    # JSON strings and lists of strings are TOML, too.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
    write_text(folder / SETTINGS_FILE, "".join(lines))


def load_board(folder: Path) -> Board:
    """Read a board.

    Raises:
        DataError: a file is broken or a link, or runs that share a manifest hold different pairs.
        UsageError: ``board.toml`` names a paper by a path.
    """
    refuse_links(folder)
    runs = [_stored(path) for path in records_in(folder)]
    settings = read_settings(folder)
    current, stale = [], []
    for run in runs:
        section = Section.of(run.result.identity)
        if run.result.identity.metric_version != METRIC_VERSION:
            stale.append((run.result, _why_another_version(run.result.identity)))
        elif settings.manifest_sha256 and section.manifest not in settings.manifest_sha256:
            stale.append((run.result, "another test manifest"))
        else:
            current.append(run)
    recipes = folder.parent.parent / "recipes"
    return Board(
        name=folder.name,
        settings=settings,
        sections=sections_of(current),
        stale=stale,
        papers=[load_paper(recipes / safe_name(name, "paper")) for name in settings.papers],
    )


def _stored(path: Path) -> StoredRun:
    result = load_result(path, committed=True)
    if result.status != "ok":
        return StoredRun(result, None)
    pairs = read_pairs(path.with_suffix(".pairs.h5"), {"run_id": result.run_id})
    mark = mark_of(path)
    return StoredRun(result, pairs, mark.is_file() and read_mark(mark).pairs_sha256 == pairs.sha256)


def sections_of(runs: Sequence[StoredRun]) -> dict[Section, list[BoardRow]]:
    """Group runs into sections by test pairs and into rows by configuration, in an order that depends on them alone.

    Raises:
        DataError: runs that share a manifest hold different pairs.
    """
    grouped: dict[Section, dict[str, list[StoredRun]]] = {}
    for run in runs:
        grouped.setdefault(Section.of(run.result.identity), {}).setdefault(row_key(run.result), []).append(run)
    sections = {}
    for section in sorted(grouped, key=lambda s: (*s.without_manifest, s.manifest)):
        rows = [
            BoardRow(key, tuple(sorted(same, key=lambda run: (run.result.identity.seed, run.result.run_id))))
            for key, same in sorted(grouped[section].items())
        ]
        _require_same_pairs(rows)
        sections[section] = rows
    return sections


def _why_another_version(identity: Identity) -> str:
    version, dataset = identity.metric_version, identity.test_dataset.name
    if version < METRIC_VERSION and dataset in FRAMES_AS_IMAGES:
        return f"metric version {version}: took frames of {dataset} for independent images; evaluate it again"
    what = "run leaderboard upgrade" if version < METRIC_VERSION else "upgrade regbench"
    return f"metric version {version}: {what}"


def _require_same_pairs(rows: list[BoardRow]) -> None:
    """Raise DataError where runs that name one manifest hold different pairs.

    The manifest itself is not on the board, so the pairs are compared with each other.
    """
    run_ids: dict[bytes, list[str]] = {}
    for run in (run for row in rows for run in row.finished):
        assert run.pairs is not None
        content = run.pairs.displacement.tobytes() + run.pairs.image.tobytes()
        run_ids.setdefault(content, []).append(run.result.run_id)
    if len(run_ids) > 1:
        *few, most = sorted(run_ids.values(), key=len)
        odd = ", ".join(sorted(run_id for ids in few for run_id in ids))
        raise DataError(
            f"{odd}: not the pairs of the {len(most)} other run{'s' if len(most) > 1 else ''} that name the same test "
            f"manifest ({', '.join(sorted(most))}); evaluate what differs again or take it off the board"
        )


def read_settings(folder: Path) -> BoardSettings:
    """``board.toml`` of a board; raises DataError where it is broken."""
    path = folder / SETTINGS_FILE
    if not path.exists():
        return BoardSettings()
    try:
        return BoardSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, ValidationError, RecursionError) as error:
        raise DataError(f"{path} is not a board description: {' '.join(str(error).split())}") from error
