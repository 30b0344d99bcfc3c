"""A function of images recorded as a CUDA graph: one launch in the place of hundreds, slower than the work itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Function = Callable[..., Any]
WARM_UP = 3
"""Calls before recording: libraries choose their kernels, and allocate, on the first ones."""

_log = logging.getLogger("regbench")


def captured(function: Function, *examples: Tensor) -> Function | None:
    """The function with its work on the device recorded, for inputs of the examples' shapes and types.

    What comes out is overwritten by the next call. Anything the function does on the host happens once, now.

    Args:
        function: of tensors to tensors, in tuples or dictionaries if need be; without gradients.
        examples: on the device; they are not changed.

    Returns:
        None where nothing can be recorded: on a CPU, and for functions that wait for the device (the reason is logged).
    """
    if examples[0].device.type != "cuda":
        return None
    try:
        return _Captured(function, examples)
    except RuntimeError as error:
        _log.info("not recorded as a CUDA graph: %s", str(error).splitlines()[0])
        return None


class _Captured:
    def __init__(self, function: Function, examples: tuple[Tensor, ...]) -> None:
        self._inputs = [x.clone() for x in examples]
        side = torch.cuda.Stream(examples[0].device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(examples[0].device))
        with torch.inference_mode(), torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream(examples[0].device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._outputs = tree_map(_is_it, function(*self._inputs))

    def __call__(self, *inputs: Tensor) -> Any:
        with torch.inference_mode():
            for kept, given in zip(self._inputs, inputs, strict=True):
                kept.copy_(given)
            self._graph.replay()
        return self._outputs


def _is_it(x: Any) -> Any:
    if not isinstance(x, Tensor | None):
        raise RuntimeError(f"the function returns {type(x).__name__}, which is no tensor")
    return x
