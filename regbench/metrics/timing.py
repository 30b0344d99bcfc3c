"""Wall-clock time of a call: median and interquartile range."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """Time of one call in milliseconds: median and interquartile range over ``repeats`` calls."""

    median_ms: float
    iqr_ms: float
    repeats: int


def measure(
    fn: Callable[[], Any], *, warmup: int = 3, repeats: int = 20, sync: Callable[[], Any] | None = None
) -> Timing:
    """Time ``fn``.

    Args:
        fn: called without arguments.
        warmup: number of calls before the timed ones, for caches, autotuning and clocks.
        repeats: number of timed calls, >= 1.
        sync: function that waits for the device, called before and after each timed call (see :func:`device_sync`);
            None for CPU work.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    wait = sync or _no_wait
    for _ in range(warmup):
        fn()
    spans = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        fn()
        wait()
        spans.append(1e3 * (time.perf_counter() - start))
    if repeats == 1:
        return Timing(median_ms=spans[0], iqr_ms=0.0, repeats=1)
    low, _, high = statistics.quantiles(spans, n=4, method="inclusive")
    return Timing(median_ms=statistics.median(spans), iqr_ms=high - low, repeats=repeats)


def device_sync(device: str | Any) -> Callable[[], Any]:
    """The function that waits until a torch device, given itself or by name, has done its work."""
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        import torch

        return lambda: torch.cuda.synchronize(device)
    if kind == "mps":
        import torch

        return torch.mps.synchronize
    return _no_wait


def _no_wait() -> None:
    """A CPU call has done its work when it returns."""
