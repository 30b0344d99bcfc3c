"""Numbers printed in papers.

``leaderboards/recipes/<name>/paper.csv`` holds the numbers; ``paper.toml`` beside it says which data sets and
components the paper's names stand for.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from regbench.contained import refuse_link
from regbench.errors import DataError
from regbench.results import Identity
from regbench.results.schema import ROLES, Component

PAPER_FILES = ("paper.csv", "paper.toml")
METRICS = ("MACE", "AUC@3", "AUC@5", "AUC@10", "AUC@20", "time_ms")
ALL_DATASETS = "all"
"""Stands in the data set column for a number that belongs to no data set, such as a time."""
_RUN_FIELDS = ("pairing", "frozen_augment", "trained_on")
_TEACHER = "teacher."
_Value = str | int | float | bool


class _PaperNames(BaseModel):
    """``paper.toml``: what a paper's names stand for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    datasets: dict[str, str] = {}
    """Registered data set by the paper's name."""
    methods: dict[str, dict[str, _Value | list[_Value] | dict[str, _Value | list[_Value]]]] = {}
    """Pattern of a run by the paper's name; see :func:`matches_method`."""


@dataclass(frozen=True)
class PrintedLine:
    """A line of a table in a paper: one method on one data set."""

    source: str
    """The paper in which the number was read; not always the paper of the method."""
    table: str
    method: str
    category: str
    values: Mapping[str, str]
    """By metric of :data:`METRICS`, as printed, so also text such as ``NC``."""

    def mace(self) -> float | None:
        """MACE in pixels; None where none is printed or the text is not a number."""
        try:
            return float(self.values["MACE"])
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class Paper:
    """The numbers printed in a paper."""

    lines: Mapping[str, list[PrintedLine]]
    """By the registered name of the data set."""
    methods: Mapping[str, Mapping[str, Any]]
    """Pattern of a run by the paper's name of the method; see :func:`matches_method`."""


def load_paper(folder: Path) -> Paper:
    """Read ``paper.csv`` and ``paper.toml``.

    Raises:
        DataError: a file is missing, broken or a link.
    """
    for name in PAPER_FILES:
        refuse_link(folder / name)
    names = _read_names(folder / "paper.toml")
    values_by_line: dict[tuple[str, ...], dict[str, str]] = {}
    for row in _read_numbers(folder / "paper.csv"):
        key = (row["dataset"], row["source"], row["table"], row["method"], row["category"])
        values_by_line.setdefault(key, {})[row["metric"]] = row["value"]
    lines: dict[str, list[PrintedLine]] = {}
    for (dataset, source, table, method, category), values in values_by_line.items():
        general = values_by_line.get((ALL_DATASETS, source, table, method, category), {})
        if dataset != ALL_DATASETS:
            line = PrintedLine(
                source=source, table=table, method=method, category=category, values={**general, **values}
            )
            lines.setdefault(names.datasets.get(dataset, dataset), []).append(line)
    return Paper(lines, names.methods)


def matches_method(
    identity: Identity, pattern: Mapping[str, Any], lineage: Mapping[str, Mapping[str, Any]] | None = None
) -> bool:
    """Whether a run is the method that a paper calls by a name.

    Args:
        identity: identity of the run.
        pattern: values that must match, by key: ``translator``, ``registrator``, ``strategy`` (names; empty for none),
            ``pairing``, ``frozen_augment``, ``trained_on`` (a data set), settings such as ``strategy.rounds``, and any
            of these of the run it learned from, such as ``teacher.translator``. A list holds all values that match, a
            table values by data set (of the test pairs), as in ``{googleearth = "given"}``. Keys that are absent match
            anything, with two exceptions: ``trained_on`` then is the data set of the test pairs, and
            ``frozen_augment`` is none. An empty pattern matches nothing.
        lineage: identities of the run's ancestors by run id, as its result has them.
    """
    own, teacher = _parts(pattern)
    if teacher:
        known = [Identity.model_validate(lineage[run]) for run in identity.ancestors if lineage and run in lineage]
        if not any(matches_method(ancestor, teacher, lineage) for ancestor in known):
            return False
    dataset = identity.test_dataset.name
    wanted: dict[str, Any] = {"frozen_augment": "none", "trained_on": identity.train_dataset and dataset}
    for key, value in own.items():
        if not isinstance(value, Mapping):
            wanted[key] = value
        elif dataset in value:
            wanted[key] = value[dataset]
    return bool(pattern) and all(_agree(_value(identity, key), value) for key, value in wanted.items())


def _parts(pattern: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a pattern says of the run, and what it says of the run's teacher."""
    teacher = {key.removeprefix(_TEACHER): value for key, value in pattern.items() if key.startswith(_TEACHER)}
    return {key: value for key, value in pattern.items() if not key.startswith(_TEACHER)}, teacher


def _value(identity: Identity, key: str) -> object:
    """What a run has for a key of a pattern."""
    if key == "trained_on":
        return identity.train_dataset.name if identity.train_dataset else None
    if key in _RUN_FIELDS:
        return getattr(identity.protocol, key)
    role, _, setting = key.partition(".")
    component: Component | None = getattr(identity, role)
    if component is None:
        return ""
    return component.config.get(setting) if setting else component.name


def _agree(actual: object, wanted: object) -> bool:
    return actual in wanted if isinstance(wanted, list) else actual == wanted


def _read_names(path: Path) -> _PaperNames:
    try:
        names = _PaperNames.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; it says what the paper's names stand for") from error
    except (tomllib.TOMLDecodeError, ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} does not say what the paper's names are: {' '.join(str(error).split())}") from error
    for method, pattern in names.methods.items():
        for key in pattern:
            part = key.removeprefix(_TEACHER)
            if part not in _RUN_FIELDS and part.partition(".")[0] not in ROLES:
                raise DataError(
                    f"{path}: {method}: {key!r} is no part of a run; use translator, registrator, strategy, one of "
                    f"their settings (strategy.rounds), {', '.join(_RUN_FIELDS)}, or one of these of its teacher "
                    "(teacher.translator)"
                )
        for key, value in pattern.items():
            if isinstance(value, dict) and (wrong := sorted(set(value) - set(names.datasets.values()))):
                raise DataError(
                    f"{path}: {method}: {key}.{wrong[0]}: {wrong[0]!r} is no data set of [datasets]; a setting is "
                    f'written in quotes, "{key}.{wrong[0]}"'
                )
    return names


def _read_numbers(path: Path) -> list[dict[str, str]]:
    needed = ("source", "table", "dataset", "method", "category", "metric", "value")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}") from error
    for number, row in enumerate(rows, 2):
        if missing := [name for name in needed if not row.get(name)]:
            raise DataError(f"{path}, line {number}: no {', '.join(missing)}; every number needs its source and table")
        if row["metric"] not in METRICS:
            raise DataError(f"{path}, line {number}: metric {row['metric']!r} is not one of {', '.join(METRICS)}")
    return rows
