"""What verbs print: lines for people, and JSON for scripts, which has standard output for itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import UnsupportedOperation
from typing import TextIO

import click

from regbench.texts import printable

_for_json: TextIO | None = None
"""Standard output, while everything else that is written to it goes to standard error."""


def echo(text: str = "", *, err: bool = False, nl: bool = True, bold: bool = False) -> None:
    """Print a text of which parts come from files or plugins: nothing in it controls the terminal."""
    click.secho(printable(text), err=err, nl=nl, bold=bold or None)


def echo_json(document: str) -> None:
    """Print a JSON document to standard output."""
    click.echo(document, file=_for_json)


@contextmanager
def stdout_for_json() -> Iterator[None]:
    """Keep standard output for :func:`echo_json`: what plugins and their libraries print goes to standard error."""
    global _for_json
    stdout, number, copy = sys.stdout, None, None
    try:
        number = stdout.fileno()
        copy = os.dup(number)
        os.dup2(sys.stderr.fileno(), number)  # libraries in C write to the number
        _for_json = os.fdopen(copy, "w", encoding=stdout.encoding, errors=stdout.errors)
    except (UnsupportedOperation, AttributeError, ValueError, OSError):  # no files of the system, as in a test
        _for_json = stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        document, _for_json = _for_json, None
        document.flush()
        if document is not stdout and number is not None:
            os.dup2(document.fileno(), number)
            document.close()
