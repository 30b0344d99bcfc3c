"""Scripts that use Triton's kernels without a GPU, each in a process of its own: Triton reads its settings once."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.version import Version

NEEDS_TRITON = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
OLD_INTERPRETER = pytest.mark.xfail(
    find_spec("triton") is not None
    and Version(version("triton")) < Version("3.8")
    and Version(version("numpy")) >= Version("2.5"),
    reason="the interpreter of triton 3.6 calls numpy as numpy 2.5 no longer allows",
)


def interpreted(script: str) -> None:
    """Run a script whose kernels Triton interprets, on tensors of the CPU; it must end well."""
    _run([sys.executable, "-c", script], TRITON_INTERPRET="1")


def compiling(script: str, folder: Path) -> None:
    """Run a script that compiles kernels; it must end well. Triton reads their source from a file."""
    file = folder / "compiled.py"
    file.write_text(script)
    _run([sys.executable, str(file)], TRITON_CACHE_DIR=str(folder / "cache"))


def _run(command: list[str], **environment: str) -> None:
    process = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
