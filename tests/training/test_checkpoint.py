"""Checkpoints of a device: copied by one transfer, written beside the training."""

from __future__ import annotations

import threading

import pytest
import torch

from regbench.errors import RegbenchError
from regbench.training import checkpoint
from regbench.training.checkpoint import TrainingState, Writer, on_host, read_checkpoint, save_checkpoint


def save(path, network, writer=None):
    state = TrainingState(stage=1, step=2)
    save_checkpoint(path, state, {"network": network}, [], [], None, writer)
    state.step = 7  # training goes on


def test_a_file_is_written_while_training_goes_on(tmp_path, monkeypatch):
    begun, go = threading.Event(), threading.Event()
    real = checkpoint.write_tensors

    def slow(*args):
        begun.set()
        assert go.wait(30)
        real(*args)

    monkeypatch.setattr(checkpoint, "write_tensors", slow)
    writer, path = Writer(), tmp_path / "checkpoint.safetensors"
    save(path, torch.nn.Linear(2, 3), writer)
    assert begun.wait(30)
    assert not path.exists()
    go.set()
    writer.wait()
    read = read_checkpoint(path)
    assert read is not None
    assert read.state.step == 2


def test_a_full_disk_is_noticed(tmp_path, monkeypatch):
    def full(path, *_):
        raise RegbenchError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    writer = Writer()
    save(tmp_path / "checkpoint.safetensors", torch.nn.Linear(2, 3), writer)
    with pytest.raises(RegbenchError, match="cannot write"):
        writer.wait()
    writer.wait()  # told once


def test_tensors_of_a_device_come_by_one_transfer_each_type(monkeypatch):
    """The simulated device shows the transfers; here, that shapes and values survive the flat copy."""

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda:0")

    def elsewhere(x):
        return x.as_subclass(Elsewhere)

    tensors = {
        "a": elsewhere(torch.arange(6.0).view(2, 3).t()),
        "n": elsewhere(torch.tensor(4)),
        "b": elsewhere(torch.full((), 7.0)),
        "empty": elsewhere(torch.zeros(0, 3)),
        "here": torch.ones(2),
    }
    held = on_host(tensors)
    assert held.keys() == tensors.keys()
    assert held["here"] is tensors["here"]
    for name, tensor in tensors.items():
        assert held[name].shape == tensor.shape
        assert held[name].dtype == tensor.dtype
        assert torch.equal(held[name].as_subclass(torch.Tensor), tensor.as_subclass(torch.Tensor))
