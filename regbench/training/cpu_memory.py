"""How glibc's allocator serves training on a CPU. With another C library, nothing here has any effect."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT, _LARGE = 2**30, 2**20  # bytes
_keeps = False


def keep_freed_memory() -> bool:
    """Let this process keep freed memory, up to 1 GiB, for the next tensor; returns whether it now does.

    By default glibc returns the memory of large tensors to the system as soon as they are freed. The same step then
    requests it again, and the system zeroes every page first: a fifth to a third of the time of MCNet's training step
    at its published size. The price is fragmented memory (docs/speed.md).
    """
    global _keeps
    libc = _glibc()
    _keeps = libc is not None and bool(libc.mallopt(_MMAP_THRESHOLD, _KEPT) and libc.mallopt(_TRIM_THRESHOLD, _KEPT))
    return _keeps


@contextmanager
def first_step_allocation() -> Iterator[None]:
    """For the first step of a stage: allocate large tensors apart from the small ones that outlive the step.

    A first step leaves small allocations behind, such as a library's kernels for each shape. Between large tensors they
    would split the kept memory into pieces too small for the next step's tensors, which then takes a quarter more. So
    during this step large tensors come from the system, and what earlier steps left is returned to it. Does nothing
    unless :func:`keep_freed_memory` took effect.
    """
    libc = _glibc() if _keeps else None
    if libc is None:
        yield
        return
    libc.malloc_trim(0)
    libc.mallopt(_MMAP_THRESHOLD, _LARGE)
    try:
        yield
    finally:
        keep_freed_memory()


class StepAllocation:
    """The allocator's mode for each step of a stage, ``with allocation(): ...``: special for the first one on a CPU."""

    def __init__(self, device_type: str) -> None:
        self._first = device_type == "cpu"

    def __call__(self) -> AbstractContextManager[None]:
        """The mode for the next step."""
        first, self._first = self._first, False
        return first_step_allocation() if first else nullcontext()


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
