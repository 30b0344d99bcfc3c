"""Memory that is freed and asked for again does not go through the system."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
if sys.argv[1] == "keep":
    from regbench.engine.plan import device_of
    device_of("cpu")
def faults():
    torch.ones(40 * 2**18)  # 40 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
told = [faults() for _ in range(12)]
print(told[-1] - told[4])  # the first ones fill the store
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of glibc is set")
def test_freed_memory_is_kept_on_a_cpu():
    as_it_comes, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("leave", "keep")
    )
    assert as_it_comes > 7 * 5000, "else there is nothing to gain here"
    assert kept < as_it_comes / 20
