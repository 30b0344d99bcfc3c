"""Signals: when they end the process, and with which exit code.

The first signal ends what is going on at a place from which it can go on: training after its step, with a checkpoint;
everything else at once. A second one ends the process where it stands, as a kill does; what is on disk stays whole.

====  ==============================================================================================
130   Ctrl-C (SIGINT)
143   SIGTERM or SIGHUP
75    SIGUSR1 or SIGUSR2, and SIGTERM within a SLURM job: the time is up, run the same command again
====  ==============================================================================================
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

RUN_AGAIN = 75
"""Exit code of a process that should be started again (EX_TEMPFAIL)."""
INTERRUPTED = (RUN_AGAIN, 130, 143)
"""Exit codes of processes that a signal ended in good order."""
ONE_WISH = 0.5
"""Seconds within which further signals repeat the first one: a terminal and a launcher may both send it."""

ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]
"""Signals that end the process, where the system has them."""
_first: tuple[int, float] | None = None
_stop: threading.Event | None = None
_installed = False


def exit_code() -> int:
    """The exit code of a process that the signal received first ends; 130 where none was received here."""
    number = _first[0] if _first else signal.SIGINT
    if number == signal.SIGINT:
        return 128 + signal.SIGINT
    hung_up = number in (signal.SIGTERM, getattr(signal, "SIGHUP", None))
    return 128 + signal.SIGTERM if hung_up and "SLURM_JOB_ID" not in os.environ else RUN_AGAIN


@contextmanager
def caught() -> Iterator[None]:
    """While entered, a signal raises KeyboardInterrupt, and a second one ends the process.

    Signals that are ignored, as under ``nohup``, stay ignored. Only the main thread can catch signals; in others this
    does nothing, and so it does where it is entered already.
    """
    global _installed, _first
    if _installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN and handler is not None]
    _installed, _first = True, None
    for number in ours:
        signal.signal(number, _received)
    usual, sys.unraisablehook = sys.unraisablehook, _raised_again(sys.unraisablehook)
    try:
        yield
    finally:
        sys.unraisablehook = usual
        for number in ours:
            signal.signal(number, before[number])
        _installed = False


@contextmanager
def put_off(stop: threading.Event) -> Iterator[None]:
    """While entered, the first signal sets ``stop`` instead of raising; :func:`at_once` suspends this."""
    with caught(), _stopping(stop):
        yield


@contextmanager
def at_once() -> Iterator[None]:
    """While entered within :func:`put_off`, the first signal raises KeyboardInterrupt again."""
    with _stopping(None):
        yield


@contextmanager
def _stopping(stop: threading.Event | None) -> Iterator[None]:
    global _stop
    before, _stop = _stop, stop
    try:
        yield
    finally:
        _stop = before


def _raised_again(usual: Callable[[Any], object]) -> Callable[[Any], None]:
    """Let a signal that arrived within a destructor arrive again: Python prints what is raised there and goes on."""

    def hook(unraisable: Any) -> None:
        global _first
        if _first is None or not isinstance(unraisable.exc_value, KeyboardInterrupt):
            usual(unraisable)
            return
        number, _first = _first[0], None
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()

    return hook


def _received(number: int, _frame: object) -> None:
    global _first
    if _first is not None:
        if time.monotonic() - _first[1] >= ONE_WISH:
            os._exit(exit_code())
        return
    _first = (number, time.monotonic())
    if _stop is None:
        raise KeyboardInterrupt
    _stop.set()
