"""Errors a person can act on: one clear line saying what, where and what to do.

The command line prints the message without a traceback and exits with ``exit_code``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RegbenchError(Exception):
    """A job failed for a reason that can be said in one line (exit code 1)."""

    exit_code = 1
    everywhere = False
    """Whether all processes of a run raise it alike, so that the first one alone prints it."""


class UsageError(RegbenchError):
    """The request itself is wrong: unknown name, impossible combination, bad value (exit code 2)."""

    exit_code = 2
    everywhere = True


class DataError(RegbenchError):
    """A file or folder is missing, truncated or not what its format promises (exit code 1)."""


class NewerError(DataError):
    """A file is of a newer regbench than this one, which must not replace it (exit code 1)."""


class PluginError(RegbenchError):
    """A plugin could not be imported or broke its contract (exit code 1)."""


class DivergedError(RegbenchError):
    """Training produced a loss that is not finite (exit code 1)."""

    everywhere = True


class InterruptedRun(RegbenchError):
    """A signal ended the work, and the same command goes on with it (exit code of :mod:`regbench.interrupts`)."""

    everywhere = True


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """Build the error for an unknown name, with the closest known names first."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    listed = ", ".join(names) if names else "none"
    return UsageError(f"unknown {kind} {name!r}: {guess}known: {listed}.{' ' + hint if hint else ''}")
