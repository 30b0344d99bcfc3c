"""Metrics of registration and how sure we are of them. Needs numpy alone."""

from __future__ import annotations

from regbench.metrics.corner import verdict
from regbench.metrics.summary import CORE, summarise
from regbench.metrics.types import MeanMetric, MedianMetric, Metric, PairErrors

METRIC_VERSION = 1
"""Raised when the same errors would give another number; boards do not mix versions."""

__all__ = [
    "CORE",
    "METRIC_VERSION",
    "MeanMetric",
    "MedianMetric",
    "Metric",
    "PairErrors",
    "summarise",
    "verdict",
]
