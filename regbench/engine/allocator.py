"""How the C library gives memory to training on a CPU."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT = 2**30


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor, up to 1 GiB, where glibc lets one say so; says whether it does.

    As it comes, glibc gives memory of large tensors back to the system as soon as they are freed. The same step then
    asks for it again, and the system fills every page with zeros first: a third of the time of MCNet's training step at
    its published size. The price is memory that lies in pieces: up to a third more of it (docs/speed.md).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, _KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, _KEPT))
