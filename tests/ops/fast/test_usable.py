"""The one predicate that chooses between fast and plain forms."""

from __future__ import annotations

import torch

from regbench.ops import fast

X = torch.zeros(2, 3, 8, 8)


def test_cpu_maps_have_fast_forms():
    assert fast.usable(X)
    assert not fast.usable(X.to("meta"))
    assert not fast.usable(X.to("meta"), cuda=True, onnx=True)


def test_narrow_networks_are_fast_only_where_channels_are_last_already():
    assert fast.usable(X, fast.WIDE)
    assert not fast.usable(X, fast.WIDE - 1)
    assert fast.usable(X.to(memory_format=torch.channels_last), fast.WIDE - 1)


def test_autocast_takes_the_plain_form():
    with torch.autocast("cpu", torch.bfloat16):
        assert not fast.usable(X)
        with torch.autocast("cpu", enabled=False):
            assert fast.usable(X)


def test_graphs_take_the_plain_form_but_where_they_can_be_exported(monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert not fast.usable(X)
    assert fast.usable(X, onnx=True)
