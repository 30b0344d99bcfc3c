"""The command line in this process and what it said, or a function with its error as the command line would say it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from regbench.cli import main
from regbench.errors import RegbenchError
from regbench.texts import printable

TRACE = "Traceback (most recent call last)"
GENERIC = "(--debug shows where)"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def trace(self) -> bool:
        """Whether a traceback was shown."""
        return TRACE in self.out + self.err

    @property
    def generic(self) -> bool:
        """Whether no more was said than the class and the text of an exception."""
        return GENERIC in self.err

    def names(self, *words: str) -> bool:
        """Whether one of these words, such as a file or a setting, was said."""
        return any(word in self.err for word in words)


def regbench(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Said:
    """``regbench ARGUMENTS`` in a folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_at(folder))
        stack.enter_context(patch.object(sys, "argv", ["regbench", *arguments]))
        stack.enter_context(patch.dict(os.environ, environment or {}))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        code = _ended(main)
    return Said(code, out.getvalue(), err.getvalue())


def called(function: Callable[[], Any]) -> Said:
    """A function of the library; its error as the command line would say it."""
    try:
        function()
    except RegbenchError as error:
        return Said(error.exit_code, "", printable(f"regbench: {error}"))
    except Exception as error:
        return Said(1, "", f"regbench: {type(error).__name__}: {' '.join(str(error).split())} {GENERIC}")
    except BaseException:
        return Said(1, "", traceback.format_exc())
    return Said(0, "", "")


def _ended(function: Callable[[], Any]) -> int:
    try:
        function()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.stderr.write(traceback.format_exc())
        return 99
    return 0


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
