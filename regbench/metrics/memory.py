"""Memory this process has taken."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Peak resident size of the process, in MB.

    On Linux it is the kernel's ``VmHWM``: ``getrusage`` remembers what the process was before it became this program,
    and a run started by a large process would seem as large.
    """
    if STATUS.is_file():
        return status_mb("VmHWM")
    # macOS counts bytes.
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / (2**20 if sys.platform == "darwin" else 2**10)


def status_mb(field: str) -> float:
    """A size that Linux tells of this process in MB, such as ``VmHWM`` (peak) or ``VmRSS`` (now)."""
    return int(STATUS.read_text(encoding="ascii").partition(f"{field}:")[2].split()[0]) / 2**10
