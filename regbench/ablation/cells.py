"""From a recipe to cells: the command line of each, what each waits for, and what cannot be run and why.

A cell is one ``regbench run`` or ``regbench evaluate`` in a folder of its own, ``<out>/<cell>/``, with ``cell.json``
beside the run: the command and what became of it. A cell whose command is the recorded one and whose run is ok is not
run again; deleting its folder redoes it and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regbench.ablation.recipe import Recipe, Row, Sets
from regbench.data.pack import ensure
from regbench.errors import DataError
from regbench.results import Result, load_result
from regbench.results.layout import CELL_RECORD, RESULT, SHARED_STAGES
from regbench.results.store import write_json


@dataclass(frozen=True)
class Cell:
    """One job of a grid."""

    name: str
    row: Row
    dataset: str
    """Whose training pairs it learns from, or whose test pairs it is judged on when nothing is trained."""
    words: tuple[str, ...]
    """The command line without ``--out`` and without the run it needs."""
    needs: str | None = None
    """Cell whose finished run comes in through ``needs_as``."""
    needs_as: str = ""
    reason: str | None = None
    """Why it is not run; None for a cell that is."""

    def command(self, out: Path) -> list[str]:
        """The whole command line after ``regbench``; raises DataError when the run it needs is not there."""
        needed = []
        if self.needs is not None:
            run = finished_run(out / self.needs)
            if run is None:
                raise DataError(f"{self.name} needs the run of {self.needs}, which is not finished")
            needed = [self.needs_as, str(run)]
        share = ["--set", f"run.share={out / SHARED_STAGES}"] if self.words[0] == "run" else []
        return [*self.words, *needed, *share, "--out", str(out / self.name)]

    def result(self, out: Path) -> Result | None:
        """Its result if it is done: the recorded command is today's, the run is ok, and made from today's other run."""
        record = read_record(out / self.name)
        run = finished_run(out / self.name)
        if run is None or record.get("words") != list(self.words) or record.get("needs") != self.needs:
            return None
        result = load_result(run / RESULT)
        if self.needs is not None:
            needed = finished_run(out / self.needs)
            if needed is None or load_result(needed / RESULT).run_id not in result.identity.ancestors:
                return None
        return result

    def record(self, out: Path, status: str, **more: Any) -> None:
        """Write ``cell.json``."""
        content = {"words": list(self.words), "needs": self.needs, "status": status, **more}
        write_json(out / self.name / CELL_RECORD, content)


def read_record(folder: Path) -> dict[str, Any]:
    """``cell.json`` of a cell's folder; empty where there is none that can be read."""
    try:
        found = json.loads((folder / CELL_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def recorded_run(folder: Path) -> Path | None:
    """The run directory a cell's record names, if it holds a result."""
    run = folder / str(read_record(folder).get("run"))
    return run if (run / RESULT).is_file() else None


def finished_run(folder: Path) -> Path | None:
    """The run directory of a cell that ended well, if its result is ok."""
    run = recorded_run(folder) if read_record(folder).get("status") == "ok" else None
    return run if run is not None and load_result(run / RESULT).status == "ok" else None


def cells_of(recipe: Recipe, roots: Mapping[str, Path], prepared: Callable[[str], bool], device: str) -> list[Cell]:
    """Every cell of a recipe, those it waits for before it.

    Args:
        recipe: what to run.
        roots: folders of data sets by name.
        prepared: whether a data set can be used without a folder.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        UsageError: a row names an unknown component.
    """

    def data(name: str) -> list[str]:
        folder = ["--root", str(roots[name].resolve())] if name in roots else []
        return ["--dataset", name, *folder, *_settings({"dataset": recipe.data.get(name, {})})]

    cells: list[Cell] = []
    ordered = sorted(recipe.rows, key=lambda row: row.teacher is not None)
    why = {row.name: row.why_not() for row in ordered}
    for dataset in recipe.datasets:
        missing = _missing(dataset, roots, prepared)
        for row in ordered:
            for seed in row.seeds:
                cell = _cell(row, dataset, seed, data(dataset), device)
                reason = missing or why[row.name] or (row.teacher and why[row.teacher]) or None
                cells.append(replace(cell, reason=reason))
                for test in recipe.transfer if row.strategy is not None else ():
                    if test != dataset:
                        judged = _judged(cell, test, data(test), device)
                        cells.append(replace(judged, reason=reason or _missing(test, roots, prepared)))
    return cells


def prepare_packs(cells: Sequence[Cell], roots: Mapping[str, Path], settings: Sets) -> None:
    """Make the pack of every data set the cells use, before cells that start together would all try.

    Args:
        cells: of :func:`cells_of`; those with a reason use none.
        roots: folders of data sets by name.
        settings: of data sets by their name.

    Raises:
        UsageError, DataError: a data set cannot be read.
    """
    for name in dict.fromkeys(cell.dataset for cell in cells if cell.reason is None):
        ensure(name, root=roots.get(name), settings=settings.get(name))


def _missing(dataset: str, roots: Mapping[str, Path], prepared: Callable[[str], bool]) -> str | None:
    if dataset in roots or prepared(dataset):
        return None
    return f"data set {dataset} is not here; add --root {dataset}=DIR"


def _cell(row: Row, dataset: str, seed: int, data: list[str], device: str) -> Cell:
    if row.strategy is None:
        words = ["evaluate", "--registrator", row.registrator]
        sets = {k: v for k, v in row.set.items() if k != "strategy"}
    else:
        words = ["run", "--registrator", row.registrator, "--strategy", row.strategy, "--precision", row.precision]
        words += ["--translator", row.translator] if row.translator else []
        words += ["--pairing", row.pairing] if row.pairing else []
        sets = row.set
    words += ["--budget", row.budget, "--seed", str(seed), "--device", device, *data, *_settings(sets)]
    needs = _name(row.teacher, dataset, seed) if row.teacher else None
    return Cell(_name(row.name, dataset, seed), row, dataset, tuple(words), needs, "--teacher" if needs else "")


def _judged(trained: Cell, test: str, data: list[str], device: str) -> Cell:
    words = ("evaluate", "--device", device, *data)
    name = f"{trained.name}-on-{_slug(test)}"
    return Cell(name, trained.row, test, words, needs=trained.name, needs_as="--run")


def _settings(sets: Sets) -> list[str]:
    words = []
    for section, values in sets.items():
        for name, value in values.items():
            words += ["--set", f"{section}.{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def _name(row: str, dataset: str, seed: int) -> str:
    return f"{_slug(row)}-{_slug(dataset)}-{seed}"


def _slug(text: str) -> str:
    text = text.replace("*", "-star").replace("×", "x").replace("+", "-plus")
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-").lower()


def waves(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that can run at once, wave after wave: nothing needs a cell of its own wave."""
    found: list[list[Cell]] = []
    level: dict[str, int] = {}
    for cell in cells:  # what a cell needs stands before it
        level[cell.name] = level[cell.needs] + 1 if cell.needs is not None else 0
        while len(found) <= level[cell.name]:
            found.append([])
        found[level[cell.name]].append(cell)
    return found
