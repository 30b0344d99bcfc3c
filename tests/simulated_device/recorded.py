"""What happened on the simulated device, with the line of code that caused it."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path

HERE = str(Path(__file__).parent)
ROOT = f"{Path(__file__).parents[2]}/"


class Recorded:
    """Counts since the last ``clear``.

    Attributes:
        waits: places where the host waits for the device.
        copies: places where memory is copied to the device and the host waits for it.
        pageable: places of copies that do not wait, of memory that is not pinned: they cannot be captured in a graph.
        launches: number of kernels by operator, with one for each operator that is no view.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.pageable: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()

    def facts(self) -> dict[str, object]:
        """The counts as JSON."""
        return {
            "waits": dict(self.waits),
            "copies": dict(self.copies),
            "pageable": dict(self.pageable),
            "launches": sum(self.launches.values()),
            "by_operator": dict(self.launches.most_common(12)),
        }


RECORDED = Recorded()


def here(what: str) -> str:
    """``what`` with the nearest line of the project's own code."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and not frame.filename.startswith(HERE):
            return f"{what} in {frame.filename.removeprefix(ROOT)}, line {frame.lineno}: {frame.line}"
    return what
