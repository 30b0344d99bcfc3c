"""Runs the cells of a grid: as processes of this machine, or as jobs of a cluster through submitit.

Each cell is a process of its own: one that dies, runs out of memory or is killed leaves a record and takes no other
with it. Cells that need another one wait for the wave before them.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from regbench.ablation.cells import Cell, waves
from regbench.errors import DataError, UsageError
from regbench.results.layout import CELL_LOG, CELL_RECORD, CELL_STDOUT, CONFIG, JOBS, RESULT

Done = Callable[[Cell], None]
"""Called with each cell that has ended, after its record was written."""


class Launcher(Protocol):
    """Runs cells that need nothing of each other, and returns when all of them have ended."""

    def run(self, cells: Sequence[Cell], out: Path, done: Done) -> None:
        """Run them all; a failed cell is a record, not an exception."""


def run_grid(cells: Sequence[Cell], out: Path, launcher: Launcher, done: Done) -> None:
    """Run every cell that is not done, in waves; cells whose needed cell failed are recorded as failed.

    Args:
        cells: of :func:`regbench.ablation.cells.cells_of`; those with a reason are left out.
        out: folder of the grid.
        launcher: where to run them.
        done: told of every cell, also of those that were done before.
    """
    for wave in waves([cell for cell in cells if cell.reason is None]):
        open_cells = []
        for cell in wave:
            if _is_settled(cell, out):
                done(cell)
            else:
                open_cells.append(cell)
        if open_cells:
            launcher.run(open_cells, out, done)


def _is_settled(cell: Cell, out: Path) -> bool:
    """Whether a cell need not be started: it is done, or cannot be, which is recorded."""
    if cell.result(out) is not None:
        return True
    try:
        cell.command(out)
    except DataError as error:
        cell.record(out, "failed", reason=str(error))
        return True
    return False


def run_cell(cell: Cell, out: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run one cell to its end and record what became of it; what the cluster's job executes."""
    process = start(cell, out, environment)
    try:
        code = process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)  # it writes a checkpoint and ends
        process.wait()
        raise
    finish(cell, out, code)


def start(cell: Cell, out: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a cell's process; what it says goes to ``log.txt``, its result as JSON to ``stdout.json``."""
    cell.record(out, "running")
    command = [sys.executable, "-m", "regbench", *cell.command(out), "--json"]
    folder = out / cell.name
    with (folder / CELL_LOG).open("ab") as log, (folder / CELL_STDOUT).open("wb") as stdout:
        return subprocess.Popen(
            command,
            stdout=stdout,
            stderr=log,
            env={**os.environ, **(environment or {})},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def finish(cell: Cell, out: Path, code: int) -> None:
    """Write the record of a cell whose process ended with ``code``; a failed one names the run it was at, if any."""
    folder = out / cell.name
    if code == 0:
        run = _printed_run(folder)
        if run is None:
            cell.record(out, "failed", reason=f"it ended well but left no result; see {folder / CELL_LOG}")
        else:
            cell.record(out, "ok", run=run)
        return
    reason = f"killed by signal {signal.Signals(-code).name}" if code < 0 else _last_line(folder / CELL_LOG)
    run = _attempted_run(folder)
    cell.record(out, "failed", reason=reason, **({"run": run} if run else {}))


def _printed_run(folder: Path) -> str | None:
    """The run directory whose result the process printed; None where there is no such result."""
    try:
        run_id = json.loads((folder / CELL_STDOUT).read_bytes())["run_id"]
    except (OSError, ValueError, KeyError):
        return None
    return next((path.parent.name for path in folder.glob(f"*/{RESULT}") if path.parent.name.endswith(run_id)), None)


def _attempted_run(folder: Path) -> str | None:
    """The run directory the ended process worked on; None if it ended before it had one.

    A cell holds a run of every setting it was ever tried with. The one of this attempt is told by its ``config.json``:
    a run writes it when it begins, so after the record that says that the cell is running.
    """
    began = (folder / CELL_RECORD).stat().st_mtime_ns
    written = max(((path.stat().st_mtime_ns, path.parent.name) for path in folder.glob(f"*/{CONFIG}")), default=None)
    return written[1] if written is not None and written[0] >= began else None


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    said = [line.removeprefix("regbench: ").strip() for line in lines if line.strip()]
    return said[-1] if said else f"it failed without a word; see {log}"


def _end_with_parent() -> None:
    """A cell must not outlive a killed grid: the next attempt would find its run locked (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Local:
    """As many processes at once as there are slots."""

    def __init__(self, jobs: int = 1, devices: Sequence[str] = ()) -> None:
        """Use ``jobs`` slots; with ``devices`` (``CUDA_VISIBLE_DEVICES`` values) one process has one of them."""
        names: Iterable[str | None] = devices or [None]
        self.slots = [name for _ in range(jobs) for name in names]

    @classmethod
    def here(cls, jobs: int, device: str) -> Local:
        """``jobs`` slots of this machine, or of each of its GPUs where ``device`` (``auto``, ``cuda``) means all."""
        import torch

        count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
        return cls(jobs, [str(number) for number in range(count)])

    def run(self, cells: Sequence[Cell], out: Path, done: Done) -> None:
        """Keep every slot busy until no cell is left."""
        waiting, free = list(cells), list(self.slots)
        busy: list[tuple[Cell, subprocess.Popen[bytes], str | None]] = []
        try:
            while waiting or busy:
                while waiting and free:
                    cell, slot = waiting.pop(0), free.pop(0)
                    busy.append((cell, start(cell, out, {"CUDA_VISIBLE_DEVICES": slot} if slot else None), slot))
                ended = [entry for entry in busy if entry[1].poll() is not None]
                for cell, process, slot in ended:
                    busy.remove((cell, process, slot))
                    free.append(slot)
                    finish(cell, out, process.returncode)
                    done(cell)
                if not ended:
                    time.sleep(0.1)
        except BaseException:
            for _, process, _ in busy:
                process.send_signal(signal.SIGINT)
            for _, process, _ in busy:
                process.wait()
            raise


class Cluster:
    """Jobs of SLURM (or of this machine, for trying it out) through submitit.

    Raises:
        UsageError: submitit is not installed, or the cluster's commands are not there.
    """

    def __init__(self, out: Path, kind: str = "slurm", **parameters: Any) -> None:
        try:
            from submitit import AutoExecutor
        except ImportError:
            raise UsageError("--launcher slurm needs submitit: pip install 'regbench[slurm]'") from None
        try:
            self.executor = AutoExecutor(folder=out / JOBS / "%j", cluster=kind)
            self.executor.update_parameters(**parameters)
        except Exception as error:  # submitit raises its own, NameError and RuntimeError
            raise UsageError(f"--launcher {kind}: {' '.join(str(error).split())}") from error

    def run(self, cells: Sequence[Cell], out: Path, done: Done) -> None:
        """Submit all of them, then wait."""
        with self.executor.batch():
            jobs = [(cell, self.executor.submit(run_cell, cell, out)) for cell in cells]
        for cell, job in jobs:
            try:
                job.result()
            except Exception as error:  # the job's own failure; run_cell records failures of the cell itself
                said = str(error).strip().splitlines() or [type(error).__name__]
                cell.record(out, "failed", reason=f"job {job.job_id}: {said[-1]}")
            done(cell)
