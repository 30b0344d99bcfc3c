"""How the C library gives memory to training on a CPU. Where it is not glibc, nothing here does anything."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT, _LARGE = 2**30, 2**20
_keeps = False


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor, up to 1 GiB, where glibc lets one say so; says whether it does.

    As it comes, glibc gives memory of large tensors back to the system as soon as they are freed. The same step then
    asks for it again, and the system fills every page with zeros first: a fifth to a third of the time of MCNet's
    training step at its published size. The price is memory that lies in pieces (docs/speed.md).
    """
    global _keeps
    libc = _glibc()
    _keeps = libc is not None and bool(libc.mallopt(_MMAP_THRESHOLD, _KEPT) and libc.mallopt(_TRIM_THRESHOLD, _KEPT))
    return _keeps


@contextmanager
def lasting_apart() -> Iterator[None]:
    """For the first step of its kind: what it makes that lasts lies apart from its large tensors.

    A first step leaves small things behind, such as a library's kernels for each shape. Between large tensors they
    would cut the memory that is kept into pieces too small for the next step's: a quarter more of it. So large tensors
    come from the system this once, and what earlier steps left goes back to it. Does nothing where nothing is kept.
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


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
