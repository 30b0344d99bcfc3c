"""Metrics of registration with their uncertainty. Needs no library but numpy."""

from __future__ import annotations

from regbench.metrics.corner import verdict
from regbench.metrics.summary import CORE, summarise
from regbench.metrics.types import MeanMetric, MedianMetric, Metric, PairErrors

METRIC_VERSION = 2
"""Increased when the same errors would give another number. A board never mixes versions.

1: percentile bootstrap. 2: Hall's studentised intervals; none where nothing covers. Values are the same in both.
"""

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
