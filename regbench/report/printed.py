"""Numbers printed in papers: facts in ``leaderboards/recipes/<name>/paper.csv``, their names here in ``paper.toml``."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from regbench.errors import DataError
from regbench.results import Identity
from regbench.results.schema import Component

METRICS = ("MACE", "AUC@3", "AUC@5", "AUC@10", "AUC@20", "time_ms")
EVERYWHERE = "all"
"""The data set of a number that is of no data set, such as a time."""
_PLAIN = ("pairing", "trained_on")


class _Names(BaseModel):
    """``paper.toml``: what a paper's names are here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    datasets: dict[str, str] = {}
    """Registered data set by the paper's name."""
    methods: dict[str, dict[str, str | int | float | bool]] = {}
    """What a run must be, by the paper's name; see :func:`is_method`."""


@dataclass(frozen=True)
class Printed:
    """A line of a table in a paper: one method on one data set."""

    source: str
    """The paper the number was read in; not always that of the method."""
    table: str
    method: str
    category: str
    values: Mapping[str, str]
    """By metric of :data:`METRICS`, as printed: ``NC`` is a number too."""

    def mace(self) -> float | None:
        """MACE in pixels; None where none is printed or it is no number."""
        try:
            return float(self.values["MACE"])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Paper:
    """The printed lines of a recipe, by the name a data set has here, and what its methods are here."""

    lines: Mapping[str, list[Printed]]
    methods: Mapping[str, Mapping[str, Any]]


def load_paper(folder: Path) -> Paper:
    """Read ``paper.csv`` and ``paper.toml``.

    Raises:
        DataError: a file is missing or is not what it should be.
    """
    names = _names(folder / "paper.toml")
    rows = _rows(folder / "paper.csv")
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = (row["dataset"], row["source"], row["table"], row["method"], row["category"])
        found.setdefault(key, {})[row["metric"]] = row["value"]
    lines: dict[str, list[Printed]] = {}
    for (dataset, source, table, method, category), values in found.items():
        general = found.get((EVERYWHERE, source, table, method, category), {})
        if dataset != EVERYWHERE:
            line = Printed(source, table, method, category, {**general, **values})
            lines.setdefault(names.datasets.get(dataset, dataset), []).append(line)
    return Paper(lines, names.methods)


def is_method(identity: Identity, pattern: Mapping[str, Any]) -> bool:
    """Whether a run is what a paper calls by a name.

    Args:
        identity: of the run.
        pattern: the parts that must match: ``translator``, ``registrator``, ``strategy`` (names; an empty one means
            none), ``pairing``, ``trained_on`` (a data set), and settings such as ``strategy.rounds``. What it does not
            name may be anything, but what was trained was trained on the data set it is tested on.
    """
    trained_on = identity.train_dataset.name if identity.train_dataset else None
    for key, wanted in {"trained_on": trained_on and identity.test_dataset.name, **pattern}.items():
        role, _, setting = key.partition(".")
        if key in _PLAIN:
            found: object = trained_on if key == "trained_on" else identity.protocol.pairing
        else:
            part: Component | None = getattr(identity, role)
            found = (part.config.get(setting) if setting else part.name) if part else ""
        if found != wanted:
            return False
    return bool(pattern)


def _names(path: Path) -> _Names:
    try:
        names = _Names.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; it says what the paper's names are here") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise DataError(f"{path} does not say what the paper's names are: {' '.join(str(error).split())}") from error
    for method, pattern in names.methods.items():
        for key in pattern:
            if key not in _PLAIN and key.partition(".")[0] not in ("translator", "registrator", "strategy"):
                raise DataError(
                    f"{path}: {method}: {key!r} is no part of a run; use translator, registrator, strategy, a setting "
                    "of theirs (strategy.rounds), pairing or trained_on"
                )
    return names


def _rows(path: Path) -> list[dict[str, str]]:
    needed = ("source", "table", "dataset", "method", "category", "metric", "value")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    for number, row in enumerate(rows, 2):
        if missing := [name for name in needed if not row.get(name)]:
            raise DataError(f"{path}, line {number}: no {', '.join(missing)}; every number needs its source and table")
        if row["metric"] not in METRICS:
            raise DataError(f"{path}, line {number}: metric {row['metric']!r} is none of {', '.join(METRICS)}")
    return rows
