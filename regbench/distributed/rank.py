"""What torchrun tells a process it has started; read without importing torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from regbench.errors import UsageError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


class Rank(NamedTuple):
    """Which of the processes that train a run together this is; by default the only one."""

    number: int = 0
    """Number among all processes; process 0, the first one, writes and judges."""
    processes: int = 1
    """How many there are."""
    local: int = 0
    """Number among the processes of this machine, which is the number of its GPU."""


def this_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank of this process; ``Rank()`` where torchrun did not start it.

    Raises:
        UsageError: a variable of torchrun holds no such number.
    """
    if any(name not in environment for name in _NAMES):
        return Rank()
    for name in _NAMES:
        if not (environment[name].isascii() and environment[name].isdecimal() and len(environment[name]) < 8):
            raise UsageError(f"{name}={environment[name]!r} is no number as torchrun sets; unset it, or use torchrun")
    found = Rank(*(int(environment[name]) for name in _NAMES))
    if max(found.number, found.local) >= found.processes:
        raise UsageError(f"RANK={found.number} and LOCAL_RANK={found.local} must be below WORLD_SIZE={found.processes}")
    return found
