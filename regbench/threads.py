"""How torch's threads wait for work, and whether the machine has time for them."""

from __future__ import annotations

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables by which a user says how threads wait."""


def wait_asleep() -> None:
    """Let the threads of OpenMP soon fall asleep while they wait for work, unless the user has said how they wait.

    By default they spin. On a core that other processes want too, they spin away the time that the thread they wait for
    would need: eight times as long a pass of small convolutions by two threads. GNU's library, which is that of torch's
    wheels for Linux, may spin a thousand times first, which costs nothing there and spares an idle machine half of what
    falling asleep costs it (docs/speed.md). The library reads the variables once, when torch is imported.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def load() -> tuple[float, int] | None:
    """Processes that want a core (mean of the last minute) and cores this process may use; None where nobody counts."""
    try:
        wanting = os.getloadavg()[0]
        return wanting, len(os.sched_getaffinity(0))
    except (OSError, AttributeError):
        return None
