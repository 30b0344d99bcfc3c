"""When to stop starting cells: a cell that is cut off resumes, but loses time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass

from regbench.ablation.cells import Cell
from regbench.errors import UsageError


@dataclass(frozen=True)
class Deadline:
    """Cells are started while they are expected to end before a moment.

    Attributes:
        moment: seconds since the epoch.
        expected: seconds that the training of a cell takes; None where nothing is known of it.
        now: the clock.
    """

    moment: float
    expected: Callable[[Cell], float | None]
    now: Callable[[], float] = time.time

    def allows(self, cell: Cell) -> bool:
        """Whether a cell may be started now. Judging alone, and a training of unknown length, take no time."""
        return self.now() + (self.expected(cell) or 0.0) <= self.moment


def moment_of(clock: str | None, minutes: float | None, now: float) -> float | None:
    """The moment that ``--end-before HH:MM`` or ``--end-within MINUTES`` names, in seconds since the epoch.

    Args:
        clock: the next time that this machine's clock shows it.
        minutes: from now on.
        now: seconds since the epoch.

    Raises:
        UsageError: both are given, or ``clock`` is no time of day.
    """
    if clock is not None and minutes is not None:
        raise UsageError("--end-before and --end-within say the same; give one of them")
    if clock is None:
        return None if minutes is None else now + 60 * minutes
    try:
        wanted = datetime.datetime.strptime(clock, "%H:%M").time()
    except ValueError:
        raise UsageError(f"--end-before {clock}: write a time of day as HH:MM, such as 18:30") from None
    start = datetime.datetime.fromtimestamp(now)
    day = start.date() if wanted > start.time() else start.date() + datetime.timedelta(days=1)
    return datetime.datetime.combine(day, wanted).timestamp()
