"""How far an ablation is, read from its files alone: another process may be running it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from regbench.ablation.cells import Cell, attempted_run, read_keys, read_record
from regbench.results import Result
from regbench.results.layout import CONFIG, LOG

State = Literal["done", "running", "stopped", "failed", "waiting", "skipped"]
STATES: tuple[State, ...] = ("done", "running", "stopped", "failed", "waiting", "skipped")
_TAIL = 4096  # bytes at the end of a log that hold its last line


@dataclass(frozen=True)
class CellStatus:
    """Where one cell stands.

    Attributes:
        cell: its name.
        state: ``stopped`` cells began and are run by nobody now; the same command goes on with them.
        stage: the stage a run is in, such as ``r-0 (3/5)``; ``judging`` after the last one.
        step: steps of that stage that are done.
        steps: steps of that stage.
        seconds: of training where the cell is done, since its start where it is running.
        seconds_left: of training; None where nothing is known.
        detail: the score, or why it failed or is skipped.
    """

    cell: str
    state: State
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    detail: str = ""


def status_of(cells: Sequence[Cell], folder: Path, expected: Mapping[str, float]) -> list[CellStatus]:
    """The state of every cell.

    Args:
        cells: as :func:`regbench.ablation.cells.cells_of` returns them.
        folder: of the ablation.
        expected: seconds of training by cell, of cells of which something is known.
    """
    return [_status(cell, folder, expected.get(cell.name)) for cell in cells]


def summary(statuses: Sequence[CellStatus]) -> dict[str, Any]:
    """Number of cells by state, the seconds of training that are left, and the cells that this sum lacks."""
    counts = Counter(status.state for status in statuses)
    left = [status for status in statuses if status.state in ("running", "stopped", "failed", "waiting")]
    return {
        "cells": len(statuses),
        **{state: counts[state] for state in STATES},
        "seconds_left": sum(status.seconds_left or 0.0 for status in left),
        "not_known": sum(status.seconds_left is None for status in left),
    }


def as_json(statuses: Sequence[CellStatus]) -> dict[str, Any]:
    """The same as data."""
    return summary(statuses) | {"of_cells": [asdict(status) for status in statuses]}


def score(result: Result) -> str:
    """MACE of a finished run, also over that of doing nothing; empty where it was judged without truth."""
    mace, identity = (result.metrics.get(name) for name in ("mace", "identity_mace"))
    if mace is None or mace.value is None:
        return ""
    over = f", {mace.value / identity.value:.2f} × identity" if identity and identity.value else ""
    return f"MACE {mace.value:.2f} px{over}"


def _status(cell: Cell, folder: Path, expected: float | None) -> CellStatus:
    if cell.skip_reason is not None:
        return CellStatus(cell.name, "skipped", detail=cell.skip_reason)
    result = cell.result(folder)
    if result is not None:
        trained = float(result.training.get("seconds", 0.0))
        return CellStatus(cell.name, "done", seconds=trained, detail=score(result))
    judged_only = cell.arguments[0] != "run"
    left = 0.0 if judged_only else expected
    record = read_record(folder / cell.name)
    if not _is_of(record, cell):
        return CellStatus(cell.name, "waiting", seconds_left=left)
    if record.get("status") == "failed":
        return CellStatus(cell.name, "failed", seconds_left=left, detail=str(record.get("reason", "")))
    if record.get("status") not in ("running", "interrupted"):
        return CellStatus(cell.name, "waiting", seconds_left=left)
    running = record.get("status") == "running" and _is_alive(record)
    stage, step, steps, share = _progress(folder / cell.name)
    seconds = max(time.time() - float(record.get("since", time.time())), 0.0) if running else None
    if left is not None and share is not None:
        left *= 1 - share
    where = "" if running is not None else f"on {record.get('host')}"
    return CellStatus(cell.name, "stopped" if running is False else "running", stage, step, steps, seconds, left, where)


def _is_of(record: Mapping[str, Any], cell: Cell) -> bool:
    """Whether a record is of the present command of a cell."""
    return record.get("words") == list(cell.arguments) and record.get("needs") == cell.needed_cell


def _is_alive(record: Mapping[str, Any]) -> bool | None:
    """Whether the process that runs a cell is there; None where it is on another machine.

    A cell ends together with the process that started it, whose number its record holds.
    """
    if "pid" not in record:
        return False
    if record.get("host") != socket.gethostname():
        return None
    try:
        os.kill(int(record["pid"]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # it is somebody else's
        pass
    return _is_python(int(record["pid"]))


def _is_python(pid: int) -> bool:
    """Whether a process is one of Python, and not another that has got its number since; True where nothing is told."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
    return b"python" in words or b"regbench" in words


def _progress(cell: Path) -> tuple[str | None, int | None, int | None, float | None]:
    """Stage, steps done of it, its steps, and the share of all steps that are done; None each where it is not known."""
    run = attempted_run(cell)
    if run is None:
        return None, None, None, None
    stages = read_keys(run / CONFIG).get("stages") or []
    names, lengths = [str(s["name"]) for s in stages], [int(s["steps"]) for s in stages]
    last = _last_entry(run / LOG)
    if last is None or last.get("stage") not in names:
        return None, None, None, None
    number, step = names.index(last["stage"]), int(last["step"])
    share = (sum(lengths[:number]) + step) / sum(lengths)
    if step >= lengths[number] and number + 1 == len(names):
        return "judging", step, lengths[number], share
    return f"{names[number]} ({number + 1}/{len(names)})", step, lengths[number], share


def _last_entry(path: Path) -> dict[str, Any] | None:
    """The last whole line of a log; somebody may be writing to it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "stage" in entry and "step" in entry:
            return entry
    return None
