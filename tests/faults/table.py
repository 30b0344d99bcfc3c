"""What a part of the fault suite reports, and the parts there are."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

from tabulate import tabulate

from tests.faults import parts

Size = Literal["small", "full"]
"""``small`` takes seconds and is a part of `make test`; ``full`` is `make faults`."""


@dataclass
class Line:
    """One line of the table: a kind of fault, tried many times.

    A try survives where the program refuses in one clear line, or goes on to the right result. What neither survives
    nor is listed as a documented limit is lost: a wrong number, work that is gone, code that ran.
    """

    line: str
    tries: int = 0
    survived: int = 0
    tracebacks: int = 0
    generic: int = 0
    """Refusals that say no more than the class and the text of an exception; they count as survived."""
    generic_said: list[str] = field(default_factory=list)
    """What those refusals said."""
    documented: list[str] = field(default_factory=list)
    """Limits that the documents name; they are no losses."""
    losses: list[str] = field(default_factory=list)
    """What was lost, a sentence each."""

    def count(self, survived: bool, what: str) -> None:
        """Count one try; ``what`` says what it was, in case it is lost."""
        self.tries += 1
        if survived:
            self.survived += 1
        else:
            self.losses.append(what)


Part = Callable[[Size, Path], Iterable[Line]]
"""``run(size, folder)`` of a module in ``tests.faults.parts``: tries its faults in an empty folder."""


def all_parts() -> dict[str, Part]:
    """Every part by the name of its module."""
    names = sorted(module.name for module in pkgutil.iter_modules(parts.__path__))
    return {name: import_module(f"{parts.__name__}.{name}").run for name in names}


def in_words(lines: Iterable[Line]) -> Iterator[str]:
    """The table, then a sentence for each loss and each documented limit."""
    lines = list(lines)
    rows = [
        (line.line, line.tries, line.survived, len(line.losses), line.tracebacks, line.generic, len(line.documented))
        for line in lines
    ]
    headers = ("line", "tries", "survived", "lost", "tracebacks", "generic", "documented")
    yield tabulate(rows, headers=headers, tablefmt="pipe")
    for line in lines:
        for what in line.losses:
            yield f"LOST {line.line}: {what}"
        for what in line.generic_said:
            yield f"generic {line.line}: {what}"
        for what in line.documented:
            yield f"documented {line.line}: {what}"
