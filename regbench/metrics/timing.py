"""Wall-clock time of a call, as median and interquartile range."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """Time of one call in milliseconds: the median, and the width of the interval the middle half lies in."""

    median_ms: float
    iqr_ms: float
    repeats: int


def measure(
    fn: Callable[[], Any], *, warmup: int = 3, repeats: int = 20, sync: Callable[[], Any] | None = None
) -> Timing:
    """Time ``fn``.

    Args:
        fn: called without arguments.
        warmup: calls not timed, for caches, autotuning and clocks.
        repeats: timed calls, >= 1.
        sync: waits for the device, before and after each call (see :func:`device_sync`); None for CPU work.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    wait = sync or _nothing
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
        return Timing(spans[0], 0.0, 1)
    low, _, high = statistics.quantiles(spans, n=4, method="inclusive")
    return Timing(statistics.median(spans), high - low, repeats)


def device_sync(device: str | Any) -> Callable[[], Any]:
    """The function that waits until a torch device (or its name) has done its work."""
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        import torch

        return lambda: torch.cuda.synchronize(device)
    if kind == "mps":
        import torch

        return torch.mps.synchronize
    return _nothing


def _nothing() -> None:
    """A CPU call has done its work when it returns."""
