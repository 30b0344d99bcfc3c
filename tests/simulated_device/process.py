"""Starts a process with the simulated device: it needs a few functions in place before torch is loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

HERE = Path(__file__).parent


@cache
def shim() -> Path:
    """The compiled shim; skips the test where that cannot be."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the simulated device needs Linux and a C compiler")
    built = Path(mkdtemp(prefix="simulated-device-")) / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o", built, HERE / "shim.c"], check=True
    )
    return built


def outcomes(*works: dict[str, Any], timeout: float = 3600) -> list[dict[str, Any]]:
    """Run combinations, one after the other in one process; see :class:`tests.simulated_device.work.Work`."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim()),
        "CUDA_VISIBLE_DEVICES": "0,1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "tests.simulated_device", json.dumps(works)]
    ended = subprocess.run(
        command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=timeout
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(works), ended.stderr[-3000:]
    return [line | {"stderr": ended.stderr[-3000:]} if "error" in line else line for line in lines]
