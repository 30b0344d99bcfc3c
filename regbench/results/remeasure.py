"""Results of an earlier metric version, summarised again from their pairs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from regbench.errors import DataError
from regbench.metrics import CORE, METRIC_VERSION, Metric, summarise, verdict
from regbench.results.pairs import Pairs
from regbench.results.schema import Measure

TOLERANCE = 1e-9
"""Relative and absolute difference up to which a stored metric equals the recomputed one."""
FRAMES_AS_IMAGES = ("diml", "googleearth", "llvip")
"""Data sets that took each frame for an image of its own under metric version 1. Their pairs do not tell which frames
share a scene or a camera, so their intervals cannot be recomputed."""


def remeasure(record: Mapping[str, Any], pairs: Pairs | None, metrics: Mapping[str, Metric] = CORE) -> dict[str, Any]:
    """A record of ``result.json`` under the present metric version; its run id stays.

    Metrics with exact labels or tie points are computed from the pairs. Intervals that pairs do not determine
    (those of label-free metrics, and those in ``training``) are removed; their values stay.

    Args:
        record: the content of the file, of an earlier metric version.
        pairs: its test pairs; None where the run is not ok.
        metrics: those to compute again, by name.

    Raises:
        DataError: the pairs do not give the stored values, or do not tell which images are independent.
    """
    remade: dict[str, Any] = copy.deepcopy(dict(record))
    name = record["identity"]["test_dataset"]["name"]
    if record["status"] == "ok" and name in FRAMES_AS_IMAGES:
        raise DataError(
            f"run {record['run_id']}: its test images are frames of {name}, and its pairs do not tell which frames "
            "share a scene; evaluate it again"
        )
    training = _without_intervals(record.get("training", {}))
    stored = _without_intervals(record.get("metrics", {}))
    if pairs is not None and record.get("truth", "labels") != "none":
        errors = pairs.errors
        for metric, expected in summarise(errors, metrics).items():
            if metric not in stored:
                continue
            ours = {"value": stored[metric]["value"], "n": stored[metric].get("n", expected["n"])}
            if not same_measure(Measure(**ours), Measure(value=expected["value"], n=expected["n"])):
                raise DataError(
                    f"run {record['run_id']}: its pairs give {metric} {expected['value']}, its record says "
                    f"{ours['value']}; evaluate it again"
                )
            stored[metric] = expected
        if record["verdict"] != verdict(errors.scored.mean(), errors.identity.mean()):
            raise DataError(f"run {record['run_id']}: its verdict {record['verdict']!r} does not follow from its pairs")
    remade["identity"]["metric_version"] = METRIC_VERSION
    remade |= {key: value for key, value in (("metrics", stored), ("training", training)) if key in record}
    return remade


def same_measure(stored: Measure | None, expected: Measure) -> bool:
    """Whether two measures agree in value, interval and number of pairs, but for rounding."""
    if stored is None or stored.n not in (None, expected.n):
        return False
    ours, theirs = (stored.value, *(stored.ci95 or ())), (expected.value, *(expected.ci95 or ()))
    return len(ours) == len(theirs) and all(
        a == b or (None not in (a, b) and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE))
        for a, b in zip(ours, theirs, strict=True)
    )


def _without_intervals(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key == "ci95" else _without_intervals(item) for key, item in value.items()}
    return [_without_intervals(item) for item in value] if isinstance(value, list) else value
