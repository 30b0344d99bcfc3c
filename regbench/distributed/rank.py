"""What torchrun tells a process it has started; read without importing torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


class Place(NamedTuple):
    """Where a process stands among those that train one run."""

    rank: int = 0
    """Its number among all; the first one, 0, writes and judges."""
    processes: int = 1
    local: int = 0
    """Its number on its machine, which is that of its GPU."""


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """The place of this process; alone where torchrun did not start it."""
    if any(name not in environment for name in _NAMES):
        return Place()
    return Place(*(int(environment[name]) for name in _NAMES))
