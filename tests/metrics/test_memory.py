"""The peak is that of this program, not of what started it."""

import subprocess
import sys

import numpy as np
import pytest

from regbench.metrics.memory import PROCESS_STATUS, peak_mb

CHILD = "from regbench.metrics.memory import peak_mb; print(peak_mb())"


def test_the_peak_rises_with_what_is_taken_and_stays():
    before = peak_mb()
    np.ones(2**25)  # 256 MB
    assert peak_mb() >= max(before, 256)


@pytest.mark.skipif(not PROCESS_STATUS.is_file(), reason="Linux tells it")
def test_a_small_program_started_by_a_large_one_is_small():
    held = np.ones(2**26)  # 512 MB
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert float(child.stdout) < 512 < peak_mb()
    assert held.any()
