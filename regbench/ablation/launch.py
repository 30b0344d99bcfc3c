"""Run the cells of an ablation: as processes of this machine, or as jobs of a cluster through submitit.

Each cell is a process of its own. A process that dies, runs out of memory or is killed leaves a record and stops no
other cell. A cell that needs another one waits for the wave before it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from regbench.ablation.cells import Cell, attempted_run, waves
from regbench.errors import DataError, UsageError
from regbench.interrupts import INTERRUPTED
from regbench.results.layout import CELL_LOG, CELL_STDOUT, JOBS, RESULT

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""Environment variables that limit the threads of a process, of PyTorch and of OpenCV."""

CellEnded = Callable[[Cell], None]
"""Called with each cell that has ended, after its record was written."""


class Launcher(Protocol):
    """Runs cells that do not need each other, and returns when all of them have ended."""

    def run(self, cells: Sequence[Cell], out: Path, on_ended: CellEnded) -> None:
        """Run all cells; a failed cell becomes a record, not an exception. A cell that is left for later is none."""


def run_cells(cells: Sequence[Cell], out: Path, launcher: Launcher, on_ended: CellEnded) -> list[Cell]:
    """Run every cell that is not finished, in waves. A cell whose needed cell failed is recorded as failed.

    Args:
        cells: as :func:`regbench.ablation.cells.cells_of` returns them; skipped cells are ignored.
        out: folder of the ablation.
        launcher: where the cells run.
        on_ended: called with every cell that has ended, also with those that were finished before.

    Returns:
        The cells that the launcher left for later, and those that need one of them.
    """
    ended: set[str] = set()
    left: dict[str, Cell] = {}

    def on_one_ended(cell: Cell) -> None:
        ended.add(cell.name)
        on_ended(cell)

    for wave in waves([cell for cell in cells if cell.skip_reason is None]):
        open_cells = []
        for cell in wave:
            if cell.needed_cell in left:
                left[cell.name] = cell
            elif _needs_no_process(cell, out):
                on_one_ended(cell)
            else:
                open_cells.append(cell)
        if open_cells:
            launcher.run(open_cells, out, on_one_ended)
        left |= {cell.name: cell for cell in open_cells if cell.name not in ended}
    return list(left.values())


def _needs_no_process(cell: Cell, out: Path) -> bool:
    """Whether a cell is finished, or cannot be run because its needed cell failed; the latter is recorded."""
    if cell.result(out) is not None:
        return True
    try:
        cell.command(out)
    except DataError as error:
        cell.record(out, "failed", reason=str(error))
        return True
    return False


def start_cell(cell: Cell, out: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a cell's process: stderr is appended to ``log.txt``, the result goes as JSON to ``stdout.json``.

    The cell ends with this process, whose number its record holds.
    """
    cell.record(out, "running", pid=os.getpid(), host=socket.gethostname(), since=round(time.time()))
    # -P: the working folder is not searched for modules, so that no file in it is run in place of a library.
    command = [sys.executable, "-P", "-m", "regbench", *cell.command(out), "--json"]
    folder = out / cell.name
    with (folder / CELL_LOG).open("ab") as log, (folder / CELL_STDOUT).open("wb") as stdout:
        return subprocess.Popen(
            command,
            stdout=stdout,
            stderr=log,
            env={**os.environ, **(environment or {})},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def finish_cell(cell: Cell, out: Path, code: int) -> None:
    """Record the outcome of a cell whose process ended with exit code ``code`` (negative: a signal killed it).

    The record of a failed cell names the run directory of the failed attempt, if there is one.
    """
    folder = out / cell.name
    if code == 0:
        run = _printed_run(folder)
        if run is None:
            cell.record(out, "failed", reason=f"the process ended well but left no result; see {folder / CELL_LOG}")
        else:
            cell.record(out, "ok", run=run)
        return
    reason = f"killed by signal {signal.Signals(-code).name}" if code < 0 else _last_line(folder / CELL_LOG)
    attempt = attempted_run(folder)
    status = "interrupted" if code in INTERRUPTED else "failed"
    cell.record(out, status, reason=reason, **({"run": attempt.name} if attempt else {}))


def _printed_run(folder: Path) -> str | None:
    """Name of the run directory whose result the process printed; None where there is no such directory."""
    try:
        run_id = json.loads((folder / CELL_STDOUT).read_bytes())["run_id"]
    except (OSError, ValueError, KeyError):
        return None
    return next((path.parent.name for path in folder.glob(f"*/{RESULT}") if path.parent.name.endswith(run_id)), None)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    messages = [line.removeprefix("regbench: ").strip() for line in lines if line.strip()]
    return messages[-1] if messages else f"the process failed without a message; see {log}"


def _end_with_parent() -> None:
    """End this process when its parent dies (Linux). Otherwise the next attempt would find the run locked."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Local:
    """Processes of this machine, as many at once as there are slots.

    Args:
        jobs: slots, or slots for each of ``devices``.
        devices: values of ``CUDA_VISIBLE_DEVICES``.
        environment: variables of the processes, beside those of this one.
        may_start: whether a cell may be started now; one that may not is left for later.
    """

    def __init__(
        self,
        jobs: int = 1,
        devices: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        may_start: Callable[[Cell], bool] = lambda cell: True,
    ) -> None:
        names: Iterable[str | None] = devices or [None]
        self.slots = [name for _ in range(jobs) for name in names]
        self.environment, self.may_start = dict(environment or {}), may_start

    @classmethod
    def on_this_machine(cls, jobs: int, device: str, **more: Any) -> Local:
        """``jobs`` slots for each GPU where ``device`` is ``auto`` or ``cuda``, else ``jobs`` slots in all.

        GPUs are those this process may see: where ``CUDA_VISIBLE_DEVICES`` lists some, a slot has one of that list.
        """
        import torch

        count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = given.split(",") if given else [str(number) for number in range(count)]
        return cls(jobs, [name.strip() for name in names[:count]], **more)

    def run(self, cells: Sequence[Cell], out: Path, on_ended: CellEnded) -> None:
        """Keep every slot busy until no cell is left."""
        waiting, free = list(cells), list(self.slots)
        busy: list[tuple[Cell, subprocess.Popen[bytes], str | None]] = []
        try:
            while waiting or busy:
                while waiting and free:
                    cell = waiting.pop(0)
                    if not self.may_start(cell):
                        continue
                    slot = free.pop(0)
                    own = {"CUDA_VISIBLE_DEVICES": slot} if slot else {}
                    busy.append((cell, start_cell(cell, out, self.environment | own), slot))
                ended = [entry for entry in busy if entry[1].poll() is not None]
                for cell, process, slot in ended:
                    busy.remove((cell, process, slot))
                    free.append(slot)
                    finish_cell(cell, out, process.returncode)
                    on_ended(cell)
                if not ended:
                    time.sleep(0.1)
        except BaseException:
            for _, process, _ in busy:
                process.terminate()
            for _, process, _ in busy:
                process.wait()
            raise


class CellJob:
    """A cell as a job of the cluster. A job that is preempted or out of time goes on in another one.

    Before such a job ends, the cluster signals it. The cell's process then writes a checkpoint and ends, and the job is
    queued again, with the same cell.
    """

    SECONDS = 60.0
    """How long the cell's process may take to write its checkpoint."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, cell: Cell, out: Path, environment: Mapping[str, str] | None = None) -> None:
        """Run the cell to its end and record its outcome."""
        process = self._process = start_cell(cell, out, environment)
        try:
            # Not wait(): it would keep the handler of a signal from looking at the process.
            while (code := process.poll()) is None:
                time.sleep(0.1)
        except BaseException:
            self._end()
            raise
        finish_cell(cell, out, code)

    def checkpoint(self, cell: Cell, out: Path, environment: Mapping[str, str] | None = None) -> Any:
        """Called by submitit in the handler of the signal: what is to be queued again."""
        from submitit.helpers import DelayedSubmission

        self._end()
        return DelayedSubmission(CellJob(), cell, out, environment)

    def _end(self) -> None:
        """Let the cell's process write a checkpoint and end."""
        until = time.monotonic() + self.SECONDS
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            while self._process.poll() is None and time.monotonic() < until:
                time.sleep(0.1)


class Cluster:
    """Jobs of SLURM through submitit; kind ``local`` runs them on this machine, without a cluster.

    Raises:
        UsageError: submitit is not installed, the cluster's commands are not there, or no time is asked for.
    """

    RESTARTS = 1000
    """How often a job that is out of time is queued again; submitit gives up after three times."""

    def __init__(
        self, out: Path, kind: str = "slurm", environment: Mapping[str, str] | None = None, **parameters: Any
    ) -> None:
        self.environment = environment
        try:
            from submitit import AutoExecutor
        except ImportError:
            raise UsageError("--launcher slurm needs submitit: pip install 'regbench[slurm]'") from None
        if kind == "slurm" and not {"timeout_min", "slurm_time"} & set(parameters):
            raise UsageError(
                "--launcher slurm: say what a job may take, such as --slurm timeout_min=240 --slurm gpus_per_node=1; "
                "without it a job gets 5 minutes and no GPU"
            )
        try:
            self.executor = AutoExecutor(folder=out / JOBS / "%j", cluster=kind, slurm_max_num_timeout=self.RESTARTS)
            self.executor.update_parameters(**parameters)
        except Exception as error:  # submitit raises its own errors, NameError and RuntimeError
            raise UsageError(f"--launcher {kind}: {' '.join(str(error).split())}") from error

    def run(self, cells: Sequence[Cell], out: Path, on_ended: CellEnded) -> None:
        """Submit all cells, then wait for each; jobs that have not ended when this process is stopped are cancelled."""
        with self.executor.batch():
            jobs = [(cell, self.executor.submit(CellJob(), cell, out, self.environment)) for cell in cells]
        try:
            for cell, job in jobs:
                try:
                    job.result()
                except Exception as error:  # the job failed; it records a failure of the cell itself
                    lines = str(error).strip().splitlines() or [type(error).__name__]
                    cell.record(out, "failed", reason=f"job {job.job_id}: {lines[-1]}")
                on_ended(cell)
        except BaseException:
            for _, job in jobs:
                job.cancel(check=False)
            raise
