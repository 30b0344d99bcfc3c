"""What would stop the cells of an ablation, found without training: by opening the data and resolving every cell.

Of a data set, the names of all pairs and the first pair of each split are read. Of a cell, every word of its command is
looked up, and the protocol is compared with the data. The networks of each row are built once, for the first data set
that is here, and the files that its first stage needs are read. Not looked at: the other images, whether memory and
disk suffice, and what training does. Whether an image is in train and in test is known of prepared data alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from regbench.ablation.cells import Cell
from regbench.ablation.opened import Opened, open_data
from regbench.data.pairs import check_fits
from regbench.data.protocol import Protocol
from regbench.data.sampler import pair_info
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.plugins.blame import at_fault, exited
from regbench.runs.build import check_trained
from regbench.runs.context import RunContext
from regbench.runs.plan import check_batches
from regbench.runs.request import Request, Resolved, protocol_on, resolve
from regbench.runs.strategies import deployed_of, stages_of, strategy_of, supervision_of

BUILDING_SECONDS = 8.0
"""Networks are built as long as this; the rest of the rows is left unbuilt, and counted."""


@dataclass
class Findings:
    """What was found."""

    problems: dict[str, str] = field(default_factory=dict)
    """Why a cell cannot run, by its name. Cells that are skipped are not looked at."""
    data: dict[str, Opened] = field(default_factory=dict)
    """The data sets that could be opened, by name."""
    built: set[str] = field(default_factory=set)
    """Rows whose networks were built."""
    not_built: set[str] = field(default_factory=set)
    """Rows whose networks were not, because time was up."""


def check_cells(cells: Sequence[Cell], *, device: str = "cpu", seconds: float = BUILDING_SECONDS) -> Findings:
    """Look for what would stop cells.

    Args:
        cells: as :func:`regbench.ablation.cells.cells_of` returns them: after the cell that a cell needs.
        device: where they will run; ``cpu`` where that is another machine, whose devices cannot be seen from here.
        seconds: how long networks are built.
    """
    findings = Findings()
    data = _Data()
    resolved: dict[str, _Checked] = {}
    for cell in (cell for cell in cells if cell.skip_reason is None):
        try:
            needed = None
            if cell.needed_cell is not None:
                if cell.needed_cell in findings.problems:
                    raise UsageError(f"needs {cell.needed_cell}, which cannot run")
                needed = resolved[cell.needed_cell]
            resolved[cell.name] = _checked(replace(cell.request(), device=device), data, needed, cell.needed_option)
        except RegbenchError as error:
            findings.problems[cell.name] = str(error)
    findings.data = {name: opened for (name, *_), opened in data.opened.items() if isinstance(opened, Opened)}
    _build(cells, resolved, findings, time.monotonic() + seconds)
    return findings


@dataclass(frozen=True)
class _Checked:
    """A cell whose words and data are right."""

    request: Request
    words: Resolved
    protocol: Protocol
    opened: Opened
    teacher: _Checked | None = None


class _Data:
    """Data sets, each opened once."""

    def __init__(self) -> None:
        self.opened: dict[tuple[str, Path | None, str], Opened | RegbenchError] = {}

    def of(self, request: Request) -> Opened:
        """The data set of a request; raises as :func:`regbench.ablation.opened.open_data`, each time."""
        settings = request.settings("dataset")
        key = (request.dataset, request.root, repr(settings))
        if key not in self.opened:
            try:
                self.opened[key] = open_data(request.dataset, request.root, settings)
            except RegbenchError as error:
                self.opened[key] = error
        opened = self.opened[key]
        if isinstance(opened, RegbenchError):
            raise opened
        return opened


def _checked(request: Request, data: _Data, needed: _Checked | None, needed_option: str) -> _Checked:
    """Check all but the networks of a cell; raises RegbenchError."""
    if needed_option == "--run":
        assert needed is not None
        return _checked_transfer(request, data.of(request), needed)
    words = resolve(request)
    opened = data.of(request)
    protocol = protocol_on(opened.aligned, request, words.protocol)
    check_fits(opened, protocol)
    if not opened.counts["test"]:
        raise UsageError(f"{opened.name} has no test pairs; its test split is empty")
    if request.strategy is None:
        chosen = words.components["registrator"]
        assert chosen is not None
        check_trained(chosen, None, "give its row a strategy")
    elif opened.seen:
        raise DataError(opened.seen)
    elif not opened.counts["train"]:
        raise UsageError(f"{opened.name} has no training pairs")
    elif _supervised(words) and opened.labelled is False:
        raise UsageError(f"{opened.name} carries no labels, which a supervised strategy needs")
    if needed is not None and needed.protocol.patch != protocol.patch:
        raise UsageError(f"its teacher learned on patches of {needed.protocol.patch} px, it has {protocol.patch} px")
    return _Checked(request, words, protocol, opened, needed)


def _checked_transfer(request: Request, opened: Opened, trained: _Checked) -> _Checked:
    protocol = trained.protocol.model_copy(update={"pairing": "frozen" if opened.aligned else "given"})
    check_fits(opened, protocol)
    if not opened.counts["test"]:
        raise UsageError(f"{opened.name} has no test pairs; its test split is empty")
    return _Checked(request, trained.words, protocol, opened)


def _supervised(words: Resolved) -> bool:
    strategy = words.components["strategy"]
    return strategy is not None and strategy.component.load().supervision == "homography"


def _build(cells: Sequence[Cell], resolved: Mapping[str, _Checked], findings: Findings, until: float) -> None:
    """Build the networks of each row once; what goes wrong there is the problem of all its cells."""
    reasons: dict[str, str] = {}
    for cell in cells:
        row = cell.row.name
        if cell.name not in resolved or cell.arguments[0] != "run" or row in findings.built:
            continue
        if time.monotonic() > until:
            findings.not_built.add(row)
            continue
        findings.built.add(row)
        try:
            _networks(resolved[cell.name])
        except SystemExit as error:
            reasons[row] = exited(error)
        except Exception as error:  # a plugin's constructor may raise anything
            said = f"{type(error).__name__}: {error}{at_fault(error)}"
            reasons[row] = str(error) if isinstance(error, RegbenchError) else said
    for cell in cells:
        if cell.name in resolved and (reason := reasons.get(cell.row.name)):
            findings.problems[cell.name] = reason
        elif cell.name in resolved and cell.needed_cell in findings.problems:
            findings.problems[cell.name] = f"needs {cell.needed_cell}, which cannot run"


def _networks(cell: _Checked) -> None:
    """Build every network of a cell, and read the files of its first stage."""
    strategy = cell.words.components["strategy"]
    assert strategy is not None
    info = pair_info(cell.opened, cell.protocol)
    context = RunContext(info, torch.device("cpu"), cell.words.components, cell.request.seed, cell.request.precision)
    if cell.teacher is not None:
        teacher = RunContext(info, torch.device("cpu"), cell.teacher.words.components, cell.request.seed)
        context.given_teacher = teacher.registrator()
    built = strategy_of(strategy)
    supervision_of(built, strategy)
    deployed_of(built, context, strategy)
    stages = stages_of(built, context, strategy)
    check_batches(stages, 1)
    if cell.teacher is not None and not context.teacher_used:
        raise UsageError(f"{strategy.component.name} learns from no finished run; drop its teacher")
    if stages and stages[0].setup is not None:
        stages[0].setup()
