"""Finds where a loss reads a value back from the device, which on a GPU makes every step wait for it.

On a CPU nothing waits, but the operators that would are the same: ``float(x)``, ``if x:``, an index by a mask. Numbers
drawn from a generator, and results computed from them alone, are on the host with a GPU too and may be read.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from regbench.api.stage import Stage

_READING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim")
_INDEXING = ("index", "index_put", "index_put_")


class HostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, collects in ``places`` every operator whose result the host has to know, with its line of code."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: list[str] = []
        self._drawn: dict[int, torch.Tensor] = {}  # the host's numbers, kept so that no other tensor gets the same id

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0]
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        drawn = "generator" in (kwargs or {}) or (bool(tensors) and all(id(x) in self._drawn for x in tensors))
        if not drawn and (name in _READING or (name in _INDEXING and any(_is_mask(index) for index in args[1]))):
            *_, caller = (
                f for f in traceback.extract_stack() if "/torch/" not in f.filename and f.filename != __file__
            )
            self.places.append(f"{name} in {caller.filename}, line {caller.lineno}: {caller.line}")
        result = func(*args, **(kwargs or {}))
        if drawn:
            self._drawn |= {id(x): x for x in tree_leaves(result) if isinstance(x, torch.Tensor)}
        return result


def watched(stage: Stage, reads: HostReads) -> Stage:
    """The stage with its losses watched, except in the first step, which may read what is logged once a stage."""

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(batch: Any, *others: Any) -> Any:
            if batch.step == 0:
                return function(batch, *others)
            with reads:
                return function(batch, *others)

        return call

    objectives = tuple(replace(objective, loss=watch(objective.loss)) for objective in stage.objectives)
    return replace(stage, objectives=objectives, shared=watch(stage.shared) if stage.shared else None)


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
