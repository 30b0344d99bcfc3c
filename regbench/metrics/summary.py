"""Metrics of a run with their intervals, in the form of ``result.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from regbench.errors import PluginError
from regbench.metrics.auc import auc3, auc5, auc10, auc20
from regbench.metrics.corner import failed, identity_mace, mace, median_ace, worse_than_identity
from regbench.metrics.selective import SELECTIVE
from regbench.metrics.types import Floats, Metric, PairErrors
from regbench.metrics.uncertainty import Images, Interval

CORE: Mapping[str, Metric] = {
    "mace": mace,
    "median_ace": median_ace,
    "auc@3": auc3,
    "auc@5": auc5,
    "auc@10": auc10,
    "auc@20": auc20,
    "worse_than_identity": worse_than_identity,
    "failed": failed,
}
"""The metrics that regbench itself registers."""


def summarise(errors: PairErrors, metrics: Mapping[str, Metric] = CORE) -> dict[str, dict[str, Any]]:
    """Evaluate metrics with 95 % intervals over independent test images.

    Args:
        errors: errors of all test pairs.
        metrics: metrics by name, such as those of the registry.

    Returns:
        ``{name: {"value", "ci95", "n"}}`` for every metric, then ``identity_mace`` and ``mace_over_identity``
        (the ratio with its paired interval), and where there are confidences those of
        :data:`~regbench.metrics.selective.SELECTIVE`. ``value`` is None where it is not finite; ``ci95`` is None where
        nothing covers: with too few images (:data:`~regbench.metrics.uncertainty.LEAST_IMAGES`), where they do not
        differ, or where one of them decides.

    Raises:
        PluginError: a metric returns no number.
    """
    images = Images(errors.image)
    if errors.confidence is not None:
        metrics = {**metrics, **SELECTIVE}
    entries = {name: _judged(name, metric, errors.copy()) for name, metric in metrics.items()}
    base = identity_mace(errors)
    ratio = mace(errors) / base if base > 0 else math.nan
    entries["identity_mace"] = entry_of(base, images.metric(identity_mace, errors), len(errors))
    entries["mace_over_identity"] = entry_of(ratio, images.ratio(errors.scored, errors.identity), len(errors))
    return entries


def _judged(name: str, metric: Metric, errors: PairErrors) -> dict[str, Any]:
    """The entry of one metric, which may be a plugin's: ``errors`` are its own."""
    value = metric(errors)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise PluginError(f"metric {name!r} must return a number, got {type(value).__name__}") from None
    return entry_of(number, Images(errors.image).metric(metric, errors), len(errors))


def mean_of(scores: Floats, images: Images) -> dict[str, Any]:
    """The entry of the mean of ``(N,)`` scores of pairs, with its 95 % interval over test images."""
    return entry_of(float(scores.mean()), images.mean(scores), len(scores))


def entry_of(value: float, interval: Interval | None, n: int) -> dict[str, Any]:
    """The entry ``{"value", "ci95", "n"}`` of ``result.json``; a value that is not finite is None."""
    known = value if math.isfinite(value) else None
    return {"value": known, "ci95": None if interval is None else list(interval), "n": n}
