"""The one predicate that chooses between fast and plain forms."""

from __future__ import annotations

import torch

from regbench.ops import fast

X = torch.zeros(2, 3, 8, 8)


def test_cpu_maps_have_fast_forms():
    assert fast.usable(X)
    assert not fast.usable(X.to("meta"))
    assert not fast.usable(X.to("meta"), cuda=True, onnx=True)


def test_autocast_takes_the_plain_form():
    with torch.autocast("cpu", torch.bfloat16):
        assert not fast.usable(X)
        with torch.autocast("cpu", enabled=False):
            assert fast.usable(X)


def test_graphs_take_the_plain_form_but_where_they_can_be_exported(monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert not fast.usable(X)
    assert fast.usable(X, onnx=True)
