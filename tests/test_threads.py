"""Threads sleep while they wait, and doctor says when the machine is busy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from regbench import threads
from regbench.tools import doctor

SPINS = """
import sys
sys.argv = ["regbench", "--version"]
from regbench.cli import main
try:
    main()
finally:
    import torch
"""


def spins(**said: str) -> str:
    """What the OpenMP library of a process of the command says it was told, in the order it was told."""
    clean = {k: v for k, v in os.environ.items() if k not in threads.WAITING}
    done = subprocess.run(
        [sys.executable, "-c", SPINS],
        env=clean | {"OMP_DISPLAY_ENV": "verbose", "OMP_NUM_THREADS": "2"} | said,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line.split("=")[1].strip(" '") for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not found:
        pytest.skip("this torch does not use GNU's OpenMP")
    return found[0]


def test_the_library_reads_in_time_that_threads_sleep():
    assert spins() == "1000"


@pytest.mark.parametrize("said", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "77"}])
def test_what_the_user_said_is_left(said):
    assert spins(**said) != "1000"


def test_doctor_says_when_the_machine_is_busy(monkeypatch):
    def said(found):
        monkeypatch.setattr(doctor, "load", lambda: found)
        (finding,) = [f for f in doctor.examine() if f.what == "load"]
        assert finding.ok
        return finding.detail

    assert "busy" in said((2.6, 2))
    assert said((0.4, 2)) == "0.4 processes want 2 cores"
    assert said(None) == "not counted on this system"


def test_load_counts_processes_and_cores(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 9.0, 9.0), raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert threads.load() == (1.5, 2)
    monkeypatch.delattr(os, "getloadavg")
    assert threads.load() is None
