"""The cells of an ablation: the command line of each, the cell each waits for, and why a cell is skipped.

A cell is one ``regbench run`` or ``regbench evaluate`` in a folder of its own, ``<out>/<cell>/``. ``cell.json`` in that
folder records the command and its outcome. A cell is not run again while its command equals the recorded one and its
run is ok; deleting its folder repeats this cell alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from regbench.ablation.recipe import Recipe, RecipeRow, Sets
from regbench.data.packs.prepare import ensure
from regbench.errors import DataError
from regbench.results import Result, load_result
from regbench.results.layout import CELL_RECORD, CONFIG, RESULT, SHARED_STAGES
from regbench.results.store import write_json
from regbench.runs.request import Request
from regbench.settings import parse_sets, write_value
from regbench.texts import is_folder_name

_LONGEST_NAME = 120  # of a cell's folder, in characters: file systems allow 255 bytes
_OF_TRAINING = ("pairing", "oversample", "frozen_augment")  # settings of the protocol that test pairs do not depend on


@dataclass(frozen=True)
class Cell:
    """One job of an ablation."""

    name: str
    row: RecipeRow
    dataset: str
    """Data set that provides its training pairs, or its test pairs when nothing is trained."""
    arguments: tuple[str, ...]
    """The command line without ``--out`` and without the run it needs."""
    needed_cell: str | None = None
    """Name of the cell whose finished run this one uses."""
    needed_option: str = ""
    """Option that passes that run: ``--teacher`` or ``--run``."""
    skip_reason: str | None = None
    """Why the cell is skipped; None for a cell that is run."""
    data: str | None = None
    """Hash of its data set's pack; None before the pack is made."""

    def request(self) -> Request:
        """What the command line asks for, without the run it needs."""
        options = list(zip(self.arguments[1::2], self.arguments[2::2], strict=True))
        words: dict[str, Any] = {name.removeprefix("--"): value for name, value in options if name != "--set"}
        if "root" in words:
            words["root"] = Path(words["root"])
        return Request(
            **{"registrator": "", **words, "seed": int(words.get("seed", 0))},
            sets=parse_sets(value for name, value in options if name == "--set"),
        )

    def command(self, out: Path) -> list[str]:
        """The command line after ``regbench``; raises DataError when the run it needs is not finished."""
        needed_run = []
        if self.needed_cell is not None:
            run = finished_run(out / self.needed_cell)
            if run is None:
                raise DataError(f"{self.name} needs the run of {self.needed_cell}, which is not finished")
            needed_run = [self.needed_option, str(run)]
        share = ["--set", f"run.share={out.parent / SHARED_STAGES}"] if self.arguments[0] == "run" else []
        return [*self.arguments, *needed_run, *share, "--out", str(out / self.name)]

    def result(self, out: Path) -> Result | None:
        """The result of a finished cell; None where the cell has to be run.

        A cell is finished when its recorded command and data are the present ones, its run is ok, and that run started
        from the present run of the needed cell.
        """
        record = read_record(out / self.name)
        run = finished_run(out / self.name)
        if run is None or record.get("words") != list(self.arguments) or record.get("needs") != self.needed_cell:
            return None
        result = load_result(run / RESULT)
        if self.data is not None and record.get("data", _trained_on(result, self)) not in (None, self.data):
            return None
        if self.needed_cell is not None:
            needed = finished_run(out / self.needed_cell)
            if needed is None or load_result(needed / RESULT).run_id not in result.identity.ancestors:
                return None
        return result

    def record(self, out: Path, status: str, **more: Any) -> None:
        """Write ``cell.json``: the command, ``status`` (``running``, ``ok``, ``failed``) and the keys of ``more``."""
        data = {} if self.data is None else {"data": self.data}
        content = {"words": list(self.arguments), "needs": self.needed_cell, "status": status, **data, **more}
        write_json(out / self.name / CELL_RECORD, content)


def read_record(folder: Path) -> dict[str, Any]:
    """``cell.json`` of a cell's folder; empty where the file is missing or broken."""
    return read_keys(folder / CELL_RECORD)


def read_keys(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where the file is missing or broken, or somebody is writing it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def recorded_run(folder: Path) -> Path | None:
    """The run directory that a cell's record names; None where it holds no result, or is none of the cell's folder."""
    name = str(read_record(folder).get("run"))
    run = folder / name
    return run if is_folder_name(name) and not run.is_symlink() and (run / RESULT).is_file() else None


def attempted_run(folder: Path) -> Path | None:
    """The run directory of the last attempt at a cell; None if its process has not made one.

    A cell's folder holds a run for each set of settings that was tried. The run of this attempt has the newest
    ``config.json``, which is written when the run begins and therefore after the record that says ``running``.
    """
    try:
        began = (folder / CELL_RECORD).stat().st_mtime_ns
        written = max(((path.stat().st_mtime_ns, path.parent) for path in folder.glob(f"*/{CONFIG}")), default=None)
    except OSError:  # somebody is writing them
        return None
    return written[1] if written is not None and written[0] >= began else None


def finished_run(folder: Path) -> Path | None:
    """The run directory of a cell whose record and result both say ok; else None."""
    run = recorded_run(folder) if read_record(folder).get("status") == "ok" else None
    return run if run is not None and load_result(run / RESULT).status == "ok" else None


def cells_of(recipe: Recipe, roots: Mapping[str, Path], prepared: Callable[[str], bool], device: str) -> list[Cell]:
    """Every cell of a recipe. A cell stands after the cell it needs.

    Args:
        recipe: rows, data sets and seeds.
        roots: folders of data sets by name.
        prepared: whether the pack of a data set exists, so that it can be used without a folder.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        UsageError: a row names an unknown component.
    """

    def dataset_arguments(name: str) -> list[str]:
        root = ["--root", str(roots[name].resolve())] if name in roots else []
        return ["--dataset", name, *root, *_set_arguments({"dataset": recipe.data.get(name, {})})]

    cells: list[Cell] = []
    ordered = sorted(recipe.rows, key=lambda row: row.teacher is not None)
    folders = _folders(_jobs(ordered, recipe))
    incompatibility = {row.name: row.incompatibility() for row in ordered}
    missing = {name: _missing(name, roots, prepared) for name in (*recipe.datasets, *recipe.transfer)}
    for dataset in recipe.datasets:
        for row in ordered:
            reason = missing[dataset] or incompatibility[row.name]
            reason = reason or (incompatibility[row.teacher] if row.teacher else None)
            for seed in row.seeds:
                needed = folders[_Job(row.teacher, dataset, seed)] if row.teacher else None
                cell = _row_cell(row, dataset, seed, dataset_arguments(dataset), device)
                cell = replace(cell, name=folders[_Job(row.name, dataset, seed)], needed_cell=needed)
                cells.append(replace(cell, skip_reason=reason))
                for test in _transfers(row, dataset, recipe):
                    judged = _transfer_cell(cell, test, dataset_arguments(test), device)
                    judged = replace(judged, name=folders[_Job(row.name, dataset, seed, test)])
                    cells.append(replace(judged, skip_reason=reason or missing[test]))
    return cells


def prepare_packs(
    cells: Sequence[Cell], roots: Mapping[str, Path], settings: Sets, *, force: bool = False
) -> list[Cell]:
    """Make the pack of every data set the cells use, so that cells that run at once do not all make it.

    Args:
        cells: as :func:`cells_of` returns them; skipped cells are ignored.
        roots: folders of data sets by name.
        settings: settings of data sets by name.
        force: read a data set again whose files have changed.

    Returns:
        The cells with the hashes of their packs: a cell that ran on other data is run again.

    Raises:
        UsageError, DataError: a data set cannot be read.
    """
    packs = {
        name: ensure(name, root=roots.get(name), settings=settings.get(name), renew=force)
        for name in dict.fromkeys(cell.dataset for cell in cells if cell.skip_reason is None)
    }
    return [replace(cell, data=packs[cell.dataset].sha256) if cell.dataset in packs else cell for cell in cells]


def _trained_on(result: Result, cell: Cell) -> str | None:
    """Hash of the pack a run learned from, for a record of an earlier regbench; None where that is not the cell's."""
    data = result.identity.train_dataset
    return None if data is None or cell.arguments[0] == "evaluate" else data.pack_sha256


def waves(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells in groups that can run at once: a cell needs only cells of earlier groups."""
    groups: list[list[Cell]] = []
    number: dict[str, int] = {}
    for cell in cells:  # the cell that a cell needs stands before it
        number[cell.name] = number[cell.needed_cell] + 1 if cell.needed_cell is not None else 0
        while len(groups) <= number[cell.name]:
            groups.append([])
        groups[number[cell.name]].append(cell)
    return groups


def _missing(dataset: str, roots: Mapping[str, Path], prepared: Callable[[str], bool]) -> str | None:
    if dataset in roots or prepared(dataset):
        return None
    return f"data set {dataset} is not here; add --root {dataset}=DIR"


class _Job(NamedTuple):
    """What tells one cell from another."""

    row: str
    dataset: str
    seed: int
    test: str | None = None
    """Data set on whose test pairs the run is judged, too."""

    def folder(self) -> str:
        """A readable name for a folder; other jobs may have the same."""
        name = f"{_slug(self.row)}-{_slug(self.dataset)}-{self.seed}"
        return name if self.test is None else f"{name}-on-{_slug(self.test)}"


def _transfers(row: RecipeRow, dataset: str, recipe: Recipe) -> list[str]:
    """Data sets on whose test pairs the runs of a row are judged, too."""
    return [test for test in recipe.transfer if test != dataset] if row.strategy is not None else []


def _jobs(rows: Sequence[RecipeRow], recipe: Recipe) -> Iterator[_Job]:
    for dataset in recipe.datasets:
        for row in rows:
            for seed in row.seeds:
                yield _Job(row.name, dataset, seed)
                yield from (_Job(row.name, dataset, seed, test) for test in _transfers(row, dataset, recipe))


def _folders(jobs: Iterator[_Job]) -> dict[_Job, str]:
    """The name of each job's folder. Names that would be shared or are too long end in a hash of the job."""
    names = {job: job.folder() for job in jobs}
    uses = Counter(names.values())
    for job, name in names.items():
        if uses[name] > 1 or len(name) > _LONGEST_NAME:
            mark = hashlib.sha256(json.dumps(job).encode()).hexdigest()[:8]
            names[job] = f"{name[:_LONGEST_NAME]}-{mark}"
    return names


def _row_cell(row: RecipeRow, dataset: str, seed: int, dataset_arguments: list[str], device: str) -> Cell:
    """The cell of a row, without its name and the cell it needs."""
    sets = row.settings_on(dataset)
    protocol = sets.get("protocol", {})
    if row.strategy is None:
        arguments = ["evaluate", "--registrator", row.registrator]
        sets = {section: values for section, values in sets.items() if section != "strategy"}
        protocol = {name: value for name, value in protocol.items() if name not in _OF_TRAINING}
    else:
        arguments = ["run", "--registrator", row.registrator, "--strategy", row.strategy, "--precision", row.precision]
        arguments += ["--translator", row.translator] if row.translator else []
        arguments += ["--pairing", str(protocol["pairing"])] if "pairing" in protocol else []
        protocol = {name: value for name, value in protocol.items() if name != "pairing"}
    arguments += ["--budget", row.budget, "--seed", str(seed), "--device", device]
    return Cell(
        name="",
        row=row,
        dataset=dataset,
        arguments=(*arguments, *dataset_arguments, *_set_arguments(sets | {"protocol": protocol})),
        needed_option="--teacher" if row.teacher else "",
    )


def _transfer_cell(trained: Cell, test: str, dataset_arguments: list[str], device: str) -> Cell:
    """The cell that judges the run of ``trained`` on the test pairs of another data set, without its name."""
    source, own = (trained.row.source_on(dataset) for dataset in (test, trained.dataset))
    return Cell(
        name="",
        row=trained.row,
        dataset=test,
        arguments=(
            *("evaluate", "--device", device, *dataset_arguments),
            *(_set_arguments({"protocol": {"source": source}}) if source != own else []),
        ),
        needed_cell=trained.name,
        needed_option="--run",
    )


def _set_arguments(sets: Sets) -> list[str]:
    arguments = []
    for section, values in sets.items():
        for name, value in values.items():
            arguments += ["--set", f"{section}.{name}={write_value(value)}"]
    return arguments


def _slug(text: str) -> str:
    text = text.replace("*", "-star").replace("×", "x").replace("+", "-plus")
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.").lower() or "unnamed"
