"""Functions of images as CUDA graphs: one launch replaces hundreds, which would take longer than the work itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Function = Callable[..., Any]
WARM_UP = 3
"""Calls before recording, in which libraries choose their kernels and allocate memory."""

_log = logging.getLogger("regbench")


def capture_cuda_graph(function: Function, *examples: Tensor) -> Function | None:
    """Record what a function does on the device, for inputs with the shapes and types of the examples.

    Anything the function does on the host happens once, while it is recorded.

    Args:
        function: from tensors to a tensor, or tuples or dictionaries of tensors; called without gradients.
        examples: on the device; they are not changed.

    Returns:
        A function that replays the recording; each call overwrites the output of the one before. None where nothing can
        be recorded: on a CPU, and for functions that wait for the device (the reason is logged).
    """
    if examples[0].device.type != "cuda":
        return None
    stream = torch.cuda.current_stream(examples[0].device)
    try:
        return _CudaGraph(function, examples)
    except RuntimeError as error:
        torch.cuda.set_stream(stream)  # a recording that failed leaves its own stream current
        _log.info("not recorded as a CUDA graph: %s", str(error).splitlines()[0])
        return None


class _CudaGraph:
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
            self._outputs = tree_map(_checked_tensor, function(*self._inputs))

    def __call__(self, *inputs: Tensor) -> Any:
        with torch.inference_mode():
            for kept, given in zip(self._inputs, inputs, strict=True):
                kept.copy_(given)
            self._graph.replay()
        return self._outputs


def _checked_tensor(x: Any) -> Any:
    if not isinstance(x, Tensor | None):
        raise RuntimeError(f"the function returns {type(x).__name__}, which is no tensor")
    return x
