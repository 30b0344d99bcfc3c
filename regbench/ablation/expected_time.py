"""Expected training time of a cell: the median over finished runs with the same workload.

Two runs have the same workload when they agree in components, their settings, budget, patch size, precision and type of
device. Seed, data set and pairing are not compared, because they hardly change the time of a step. The median is robust
against single runs on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from regbench.ablation.cells import Cell
from regbench.data.protocol import build_protocol
from regbench.errors import DataError, RegbenchError
from regbench.results import Result, find_runs, load_result
from regbench.results.layout import RESULT
from regbench.runs.request import Request, configure_if_named, device_of
from regbench.settings import budget_of

ROLES = ("strategy", "translator", "registrator")


@dataclass(frozen=True)
class _Workload:
    """Everything that decides how long training takes."""

    components: tuple[str | None, ...]
    """Names of the components, in the order of ``ROLES``."""
    budget: str
    patch: int
    precision: str
    device: str
    """Type of the device: ``cpu``, ``cuda``."""
    settings: dict[str, dict[str, Any]] = field(compare=False)
    """All settings of the components, defaults included, by role."""

    def equals_that_of(self, run: _Workload) -> bool:
        """Whether a run had this workload. Settings that were added or removed since the run are not compared."""
        return self == run and all(
            self.settings[role].get(name, value) == value
            for role, settings in run.settings.items()
            for name, value in settings.items()
        )


def expected_seconds(cells: Sequence[Cell], device: str, folders: Iterable[Path]) -> dict[str, float]:
    """Expected seconds of training by the name of the cell.

    Cells that train nothing, and cells without a comparable run, are left out. A stage that several cells share counts
    in each of them, so the sum is an upper bound for the ablation.

    Args:
        cells: as :func:`regbench.ablation.cells.cells_of` returns them.
        device: where they will run: ``auto`` (what is here), ``cpu``, ``cuda``.
        folders: each is searched for run directories, and for boards below ``results/``. A run that stands in several
            folders counts once, with the result of the first.
    """
    known = [(_workload_of_run(run), float(run.training["seconds"])) for run in _training_runs(folders)]
    device_type = device_of(device).type if device == "auto" else device.partition(":")[0]
    expected: dict[str, float] = {}
    for cell in cells:
        wanted = _workload_of_request(cell.request(), device_type) if cell.arguments[0] == "run" else None
        seconds = [s for workload, s in known if wanted is not None and wanted.equals_that_of(workload)]
        if seconds:
            expected[cell.name] = median(seconds)
    return expected


def _training_runs(folders: Iterable[Path]) -> list[Result]:
    """Every finished run that trained something, each once."""
    runs: dict[str, Result] = {}
    for folder in folders:
        for path in [*(run / RESULT for run in find_runs(folder)), *sorted(folder.glob("results/*/*.json"))]:
            try:
                result = load_result(path)
            except DataError:
                continue  # a broken file is reported where it is used
            if result.status == "ok" and result.identity.strategy is not None and "seconds" in result.training:
                runs.setdefault(result.run_id, result)
    return list(runs.values())


def _workload_of_run(run: Result) -> _Workload:
    identity = run.identity
    components = {role: getattr(identity, role) for role in ROLES}
    return _Workload(
        components=tuple(component and component.name for component in components.values()),
        budget=identity.budget,
        patch=identity.protocol.patch,
        precision=str(run.training.get("precision", "fp32")),
        device=str(run.timing.get("device", "cpu")).partition(":")[0],
        settings={role: component.config for role, component in components.items() if component is not None},
    )


def _workload_of_request(request: Request, device_type: str) -> _Workload | None:
    """The workload of a cell; None for wrong settings, which the cell reports when it runs."""
    try:
        budget = budget_of(request.budget)
        patch = build_protocol(request.settings("protocol"), budget).patch
        components = {
            role: configure_if_named(role, getattr(request, role), request.settings(role), budget) for role in ROLES
        }
    except RegbenchError:
        return None
    return _Workload(
        components=tuple(getattr(request, role) for role in ROLES),
        budget=budget.name,
        patch=patch,
        precision=request.precision,
        device=device_type,
        settings={role: c.config.model_dump(mode="json") for role, c in components.items() if c is not None},
    )
