from __future__ import annotations

import pytest

from regbench.metrics.timing import device_sync, measure


def test_counts_calls_and_waits():
    calls, waits = [], []
    timing = measure(lambda: calls.append(1), warmup=2, repeats=5, sync=lambda: waits.append(1))
    assert (len(calls), len(waits), timing.repeats) == (7, 10, 5)
    assert timing.median_ms >= 0
    assert timing.iqr_ms >= 0


def test_one_repeat_has_no_spread():
    assert measure(lambda: None, warmup=0, repeats=1).iqr_ms == 0.0


def test_no_repeat_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        measure(lambda: None, repeats=0)


def test_the_cpu_needs_no_wait():
    assert device_sync("cpu")() is None
