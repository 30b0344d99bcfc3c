"""Metrics of registration with their uncertainty. Needs no library but numpy."""

from __future__ import annotations

from regbench.metrics.corner import verdict
from regbench.metrics.summary import CORE, summarise
from regbench.metrics.types import MeanMetric, MedianMetric, Metric, PairErrors

METRIC_VERSION = 1
"""Increased when the same errors would give another number. A board never mixes versions."""

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
