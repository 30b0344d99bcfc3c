"""What torchrun tells a process it has started; read without importing torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

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
    """The rank of this process; ``Rank()`` where torchrun did not start it."""
    if any(name not in environment for name in _NAMES):
        return Rank()
    return Rank(*(int(environment[name]) for name in _NAMES))
