"""Memory use of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

PROCESS_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Peak resident size of the process, in MB.

    On Linux this is the kernel's ``VmHWM``. ``getrusage`` would also count the process that started this program before
    it was replaced, so a run started by a large process would seem as large.
    """
    if PROCESS_STATUS.is_file():
        return status_mb("VmHWM")
    # macOS counts bytes.
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / (2**20 if sys.platform == "darwin" else 2**10)


def status_mb(field: str) -> float:
    """A size of this process in MB as Linux reports it: ``VmHWM`` (peak resident), ``VmRSS`` (resident now)."""
    return int(PROCESS_STATUS.read_text(encoding="ascii").partition(f"{field}:")[2].split()[0]) / 2**10
