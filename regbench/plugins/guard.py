"""A plugin's code is run so that what it prints, raises or waits for stops nothing but itself."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType

from regbench import interrupts
from regbench.errors import PluginError


@contextmanager
def guarded(seconds: float | None = None) -> Iterator[None]:
    """Run code of a plugin.

    What it prints goes to stderr. ``sys.exit``, a KeyboardInterrupt of its own and whatever else ends a program become
    errors. Ctrl-C and the other signals of :mod:`regbench.interrupts` work as ever.

    Args:
        seconds: how long it may take; None for as long as it likes. Only the main thread can be stopped, and not in
            the middle of a function written in C.

    Raises:
        PluginError: it tried to end the program, or took too long.
    """
    with redirect_stdout(sys.stderr), _time_limit(seconds), _signalled() as received:
        try:
            yield
        except Exception:
            raise
        except BaseException as error:
            if received and isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _signalled() -> Iterator[list[int]]:
    """A list that is filled when a signal that a handler turns into KeyboardInterrupt arrives while entered."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # signals raise nothing in other threads
        return
    # Those that are ignored, as Ctrl-C is in a job of the background, or left to the system raise nothing either.
    before = {number: usual for number in interrupts.ENDING if callable(usual := signal.getsignal(number))}

    def handler(number: int, frame: FrameType | None) -> None:
        received.append(number)
        before[number](number, frame)

    try:
        for number in before:
            signal.signal(number, handler)
        yield received
    finally:
        for number, usual in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, usual)


class _TooLong(BaseException):
    """Passes ``except Exception`` in the code that takes too long."""


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if not seconds or not main or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooLong:
        raise PluginError(f"did not load within {seconds:g} s") from None
    except PluginError as error:
        if isinstance(error.__cause__, _TooLong):
            raise PluginError(f"did not load within {seconds:g} s") from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
