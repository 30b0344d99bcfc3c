"""How long a cell's training can be expected to take: the median of finished runs that did the same work.

The same work: the same components with the same settings at the same budget, on patches of one size, in one precision,
on the same type of device. What hardly changes the time of a step is not compared: seed, data set, pairing. The median,
because runs come from machines with more and with less to do; a single slow one should not decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from regbench.ablation.cells import Cell
from regbench.ablation.recipe import Row
from regbench.data.protocol import build_protocol
from regbench.errors import DataError, RegbenchError
from regbench.results import Result, find_runs, load_result
from regbench.results.layout import RESULT
from regbench.runs.request import configure_if_named, device_of
from regbench.settings import budget_of

ROLES = ("strategy", "translator", "registrator")


@dataclass(frozen=True)
class _Work:
    """What decides how long training takes."""

    components: tuple[str | None, ...]
    """Their names, in the order of ``ROLES``."""
    budget: str
    patch: int
    precision: str
    device: str
    """Its type: ``cpu``, ``cuda``."""
    settings: dict[str, dict[str, Any]] = field(compare=False)
    """Of the components, defaults included, by role."""

    def is_done_by(self, run: _Work) -> bool:
        """Whether a run did this. Settings that came or went since then cannot be compared, and are not."""
        return self == run and all(
            self.settings[role].get(name, value) == value
            for role, settings in run.settings.items()
            for name, value in settings.items()
        )


def expected_seconds(cells: Sequence[Cell], device: str, folders: Iterable[Path]) -> dict[str, float]:
    """Seconds of training a cell can be expected to take, by the cell's name.

    Cells that train nothing, and those no run is known for, are left out. Stages that cells of a grid share are counted
    in each of them, so a grid takes no longer than the sum says.

    Args:
        cells: of :func:`regbench.ablation.cells.cells_of`.
        device: where they will run: ``auto`` (what is here), ``cpu``, ``cuda``.
        folders: where to look for results, below each: run directories, and boards under ``results/``. The first one
            that holds a run counts.
    """
    known = [(_work_of(run), float(run.training["seconds"])) for run in _trainings(folders)]
    here = device_of(device).type if device == "auto" else device.partition(":")[0]
    of_row: dict[str, list[float]] = {}
    for row in {cell.row.name: cell.row for cell in cells if cell.row.strategy is not None}.values():
        work = _work_asked(row, here)
        of_row[row.name] = [seconds for done, seconds in known if work is not None and work.is_done_by(done)]
    trained = [cell for cell in cells if cell.words[0] == "run" and of_row[cell.row.name]]
    return {cell.name: median(of_row[cell.row.name]) for cell in trained}


def _trainings(folders: Iterable[Path]) -> list[Result]:
    """Every finished run that trained something, once, also if it stands on several boards."""
    found: dict[str, Result] = {}
    for folder in folders:
        for path in [*(run / RESULT for run in find_runs(folder)), *sorted(folder.glob("results/*/*.json"))]:
            try:
                result = load_result(path)
            except DataError:
                continue  # what is broken is reported where it is used
            if result.status == "ok" and result.identity.strategy is not None and "seconds" in result.training:
                found.setdefault(result.run_id, result)
    return list(found.values())


def _work_of(run: Result) -> _Work:
    identity = run.identity
    chosen = {role: getattr(identity, role) for role in ROLES}
    return _Work(
        tuple(component and component.name for component in chosen.values()),
        identity.budget,
        identity.protocol.patch,
        str(run.training.get("precision", "fp32")),
        str(run.timing.get("device", "cpu")).partition(":")[0],
        {role: component.config for role, component in chosen.items() if component is not None},
    )


def _work_asked(row: Row, device: str) -> _Work | None:
    """What a row asks for; None for settings that are wrong, which the cell itself will say when it runs."""
    try:
        budget = budget_of(row.budget)
        patch = build_protocol(row.set.get("protocol"), budget).patch
        configured = {
            role: configure_if_named(role, getattr(row, role), row.set.get(role, {}), budget) for role in ROLES
        }
    except RegbenchError:
        return None
    settings = {role: c.config.model_dump(mode="json") for role, c in configured.items() if c is not None}
    names = tuple(getattr(row, role) for role in ROLES)
    return _Work(names, budget.name, patch, row.precision, device, settings)
