"""A plugin's code is run so that what it prints, raises or waits for stops nothing but itself."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType

from regbench.errors import PluginError


@contextmanager
def guarded(seconds: float | None = None) -> Iterator[None]:
    """Run code of a plugin.

    What it prints goes to stderr. ``sys.exit``, a KeyboardInterrupt that nobody pressed and whatever else ends a
    program become errors. Ctrl-C works as ever.

    Args:
        seconds: how long it may take; None for as long as it likes. Only the main thread can be stopped, and not in
            the middle of a function written in C.

    Raises:
        PluginError: it tried to end the program, or took too long.
    """
    with redirect_stdout(sys.stderr), _time_limit(seconds), _pressed() as pressed:
        try:
            yield
        except Exception:
            raise
        except BaseException as error:
            if pressed and isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _pressed() -> Iterator[list[int]]:
    """A list that is filled when Ctrl-C is pressed while entered."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed  # Ctrl-C raises nothing here: it is the main thread's, or ignored as in a job of the background
        return

    def handler(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield pressed
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, before)


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
