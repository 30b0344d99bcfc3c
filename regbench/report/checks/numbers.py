"""The numbers of a run against its pairs: errors follow from estimates, and everything else from errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regbench.errors import RegbenchError
from regbench.metrics import CORE, METRIC_VERSION, Metric, summarise, verdict
from regbench.plugins.registry import registry
from regbench.results import Measure, Pairs, Result
from regbench.results.pairs import corner_error
from regbench.results.remeasure import same_measure


def problems(result: Result, pairs: Pairs, path: Path, stored: Path) -> Iterator[str]:
    """Problems of the numbers of one run that is ok; each a whole sentence.

    Args:
        result: its record.
        pairs: its test pairs.
        path: of the record, for the sentences.
        stored: of the pairs.
    """
    if result.truth != "labels":
        yield f"{path}: was judged with {result.truth}, not with exact labels; a board ranks those alone"
        return
    if not _errors_follow(pairs):
        yield f"{stored}: errors do not follow from the displacements; evaluate the run again"
        return
    if result.pairs_sha256 not in (None, pairs.sha256):
        yield f"{stored}: does not hold the pairs that {path.name} names; take both from one run"
    version = result.identity.metric_version
    if version > METRIC_VERSION:
        yield f"{path}: metric version {version} is not known here; upgrade regbench"
        return
    expected = summarise(pairs.errors, _metrics(result))
    for name in sorted(set(result.metrics) - set(expected)):
        yield f"{path}: {name} is no metric of regbench or of an installed plugin"
    for name, entry in expected.items():
        measure, ours = Measure(**entry), result.metrics.get(name)
        if version < METRIC_VERSION and ours is not None:  # other intervals, the same values
            measure, ours = measure.model_copy(update={"ci95": None}), ours.model_copy(update={"ci95": None})
        if not same_measure(ours, measure):
            yield f"{path}: {name} is not what {stored.name} gives, {entry['value']}; evaluate again"
    errors = pairs.errors
    if result.verdict != verdict(errors.scored.mean(), errors.identity.mean()):
        yield f"{path}: the verdict {result.verdict!r} does not follow from {stored.name}"


def _metrics(result: Result) -> Mapping[str, Metric]:
    """The metrics that every run has, and those of installed plugins that this one has."""
    found: dict[str, Any] = dict(CORE)
    for component in registry().all("metric"):
        if component.name in result.metrics and component.name not in found:
            try:
                found[component.name] = component.load()
            except RegbenchError:
                continue  # then it is named as unknown
    return found


def _errors_follow(pairs: Pairs) -> bool:
    """Whether every error, of failed pairs too, is that of the displacements, and the truth is finite."""
    zero = np.zeros_like(pairs.displacement)
    stored = (pairs.identity_error, pairs.error)
    computed = (corner_error(pairs.displacement, zero), corner_error(pairs.displacement, pairs.estimate))
    return bool(np.isfinite(pairs.displacement).all()) and all(
        np.allclose(a, b, rtol=1e-5, atol=1e-4, equal_nan=True) for a, b in zip(computed, stored, strict=True)
    )
