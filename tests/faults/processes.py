"""The real command line in processes of its own, forked from one that has imported everything: cheap to start and kill.

``python -m tests.faults.processes`` is that process. It reads a JSON line for each command, forks, says the child's
number, and says its exit code when it has ended.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.command import GENERIC, TRACE

TREE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def trace(self) -> bool:
        """Whether a traceback was shown."""
        return TRACE in self.err

    @property
    def generic(self) -> bool:
        """Whether no more was said than the class and the text of an exception."""
        return GENERIC in self.err

    @property
    def last(self) -> str:
        """The last line it said."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.processes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TREE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


class Forge:
    """Starts commands, one at a time, in a folder that holds their packs and what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running = False

    def __enter__(self) -> Forge:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:  # whoever is next shall not read its code
            self.wait()

    def start(self, *arguments: object, environment: Mapping[str, str] | None = None, **fault: Any) -> int:
        """Start ``regbench ARGUMENTS``; gives the number of its process.

        Args:
            arguments: the command line.
            environment: beside that of this process.
            fault: see :func:`_break`.
        """
        variables = {"REGBENCH_DATA": str(self.folder / "packs"), **(environment or {})}
        request: dict[str, Any] = {"argv": [str(a) for a in arguments], "env": variables, "fault": fault}
        request |= {"cwd": str(self.folder), "out": str(self.folder / "out.txt"), "err": str(self.folder / "err.txt")}
        self._send(request)
        self._running = True
        return int(self._line())

    def wait(self) -> Ended:
        """Wait for the command that was started last."""
        code = int(self._line())
        self._running = False
        return Ended(code, *((self.folder / f"{name}.txt").read_text(errors="replace") for name in ("out", "err")))

    def run(self, *arguments: object, environment: Mapping[str, str] | None = None, **fault: Any) -> Ended:
        """Start a command and wait for it."""
        self.start(*arguments, environment=environment, **fault)
        return self.wait()

    def run_and_kill(
        self,
        after: float,
        *arguments: object,
        number: int = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Start a command and send it a signal after some seconds, if it still runs."""
        process = self.start(*arguments, environment=environment)
        select.select([_server().stdout], [], [], after)  # it has something to say once the command has ended
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        return self.wait()

    def _send(self, request: Mapping[str, Any]) -> None:
        given = _server().stdin
        assert given is not None
        given.write(json.dumps(request) + "\n")
        given.flush()

    def _line(self) -> str:
        said = _server().stdout
        assert said is not None
        return said.readline()


def _break(die_at: int = 0, full_at: int = 0, largest_file: int = 0, count: str = "") -> None:
    """Prepare a fault in this process.

    Args:
        die_at: SIGKILL at the n-th moment of a write: before a file is put in its place with its content cut in half,
            before, and after, for every file in turn.
        full_at: the disk is full at the n-th write that is brought to the disk.
        largest_file: bytes that a file may have; a longer write fails in its middle.
        count: file to which the number of these moments is written at the end.
    """
    from regbench import disk

    replace, sync = os.replace, os.fsync
    moments = writes = 0

    def moment(path: Any = None) -> None:
        nonlocal moments
        moments += 1
        if moments == die_at:
            if path is not None:
                os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(source: Any, target: Any, **more: Any) -> None:
        moment(source)
        moment()
        replace(source, target, **more)
        moment()

    def full(handle: int) -> None:
        nonlocal writes
        writes += 1
        if writes == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    assert disk.os is os
    os.replace, os.fsync = dying, full
    if largest_file:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    if count:
        import atexit

        atexit.register(lambda: Path(count).write_text(f"{moments} {writes}"))


def seconds_of(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


def instants(count: int, seconds: float, seed: int) -> list[float]:
    """Random moments within a duration."""
    drawn = random.Random(seed)
    return [drawn.uniform(0, seconds) for _ in range(count)]


def _child(request: Mapping[str, Any]) -> int:
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    for name, number in (("out", 1), ("err", 2)):
        handle = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(handle, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["regbench", *request["argv"]]
    if request["fault"]:
        _break(**request["fault"])
    from regbench import interrupts
    from regbench.cli import main

    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.ENDING)
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def _serve() -> None:
    """Fork a child for each line of standard input."""
    import atexit

    import torch

    import regbench.cli.run  # noqa: F401
    from regbench import interrupts
    from regbench.plugins.registry import registry
    from regbench.runs import execute  # noqa: F401

    torch.set_num_threads(1)
    for component in [c for role in ("registrator", "translator", "strategy") for c in registry().all(role)]:
        component.load()
    signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.ENDING)  # a child takes them as soon as it can
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        process = os.fork()
        if not process:
            code = 1
            try:
                with interrupts.caught():  # to the very end
                    code = _child(json.loads(line))
                    atexit._run_exitfuncs()
            except KeyboardInterrupt:
                code = interrupts.exit_code()
            os._exit(code)
        answers.write(f"{process}\n")
        answers.flush()
        _, status = os.waitpid(process, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
