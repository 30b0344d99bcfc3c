"""Which GPU a process uses: its own, and none that was not given to it."""

from __future__ import annotations

import pytest
import torch

from regbench.ablation.launch import Local
from regbench.distributed.processes import World
from regbench.distributed.rank import Rank
from regbench.runs.request import device_of


@pytest.fixture
def four_gpus(monkeypatch):
    """As many as torch sees, and the list of those that became the current one."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return current


@pytest.mark.parametrize("word", ["cuda:1", "cuda"])
def test_the_device_of_a_run_is_the_current_one_of_its_process(four_gpus, word):
    assert device_of(word) == torch.device(word)
    # torch refuses a device without a number here; such a one is the current one.
    assert four_gpus == ([torch.device(word)] if word != "cuda" else [])


def test_each_process_of_a_run_has_its_own(four_gpus):
    world = World(Rank(number=6, processes=8, local=2))
    assert device_of("cuda", world) == torch.device("cuda:2")
    assert four_gpus == [torch.device("cuda:2")]


def test_a_cpu_needs_no_gpu(four_gpus):
    device_of("cpu")
    assert not four_gpus


def test_cells_run_on_the_gpus_that_were_given(four_gpus, monkeypatch):
    assert Local.on_this_machine(1, "auto").slots == ["0", "1", "2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5,GPU-8f1c,7")
    assert Local.on_this_machine(2, "auto").slots == ["2", "5", "GPU-8f1c", "7"] * 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # torch stops at the first that is not there
    assert Local.on_this_machine(1, "auto").slots == ["2"]
    assert Local.on_this_machine(1, "cpu").slots == [None]
