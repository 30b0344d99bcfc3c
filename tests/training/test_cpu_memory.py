"""Memory that is freed and asked for again does not go through the system."""

import platform
import subprocess
import sys

import pytest

from regbench.training import cpu_memory

FAULTS = """
import resource, sys
import torch
if sys.argv[1] == "keep":
    from regbench.training.cpu_memory import keep_freed_memory
    keep_freed_memory()
def faults():
    torch.ones(40 * 2**18)  # 40 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
told = [faults() for _ in range(20)]
print(told[-1] - told[12])  # the first ones fill the store
"""


ON_GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of glibc is set")


@ON_GLIBC
def test_freed_memory_is_kept_on_a_cpu():
    as_it_comes, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("leave", "keep")
    )
    assert as_it_comes > 7 * 5000, "else there is nothing to gain here"
    assert kept < as_it_comes / 20


PIECES = """
import sys
from contextlib import nullcontext
import torch
from regbench.training.cpu_memory import keep_freed_memory, first_step_allocation
from regbench.metrics.memory import peak_mb
keep_freed_memory()
torch.ones(2**18)
before = peak_mb()
with first_step_allocation() if sys.argv[1] == "apart" else nullcontext():
    step = [(torch.ones(40 * 2**18), torch.ones(2**17)) for _ in range(10)]  # 40 MiB each, and what lasts
lasting = [small for _, small in step]
del step
step = [torch.ones(95 * 2**18) for _ in range(4)]
print(peak_mb() - before)
"""


@ON_GLIBC
def test_what_lasts_does_not_cut_up_what_is_kept():
    together, apart = (
        float(subprocess.run([sys.executable, "-c", PIECES, how], capture_output=True, text=True, check=True).stdout)
        for how in ("together", "apart")
    )
    assert together > 700, "else there is nothing to gain here"
    assert apart < 450


def test_nothing_is_set_apart_where_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(cpu_memory, "_keeps", False)
    monkeypatch.setattr(cpu_memory, "_glibc", lambda: pytest.fail("glibc was asked"))
    with cpu_memory.first_step_allocation():
        pass
