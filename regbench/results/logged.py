"""What a run logged while it trained, as a stream of numbers: for TensorBoard, or any other viewer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regbench.results.layout import CURVE, HEALTH, LOG
from regbench.results.store import read_json_lines


@dataclass(frozen=True)
class Logged:
    """One number of one run.

    Attributes:
        tag: ``losses/STAGE/NAME``, ``health/STAGE/MODULE/NAME`` or ``scores/STAGE/MODULE/NAME``.
        step: steps done in that stage.
        value: the number, in the unit of its name.
    """

    tag: str
    step: int
    value: float


_KINDS = {LOG: "losses", HEALTH: "health", CURVE: "scores"}


class LogReader:
    """Reads the logs of a run that may still train; each call of :meth:`new` gives what came since the last.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen = dict.fromkeys(_KINDS, 0)

    def new(self) -> Iterator[Logged]:
        """The numbers logged since the last call; all of them again where the run was begun afresh."""
        for file, kind in _KINDS.items():
            entries = read_json_lines(self.folder / file)
            since = self._seen[file] if len(entries) >= self._seen[file] else 0
            self._seen[file] = len(entries)
            for entry in entries[since:]:
                parts = [kind, str(entry.get("stage", "")), *([str(entry["deploys"])] if "deploys" in entry else [])]
                for name, value in entry.items():
                    if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                        yield Logged("/".join([*parts, name]), int(entry.get("step", 0)), float(value))
