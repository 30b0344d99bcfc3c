"""Where kernels of Triton take the place of plain forms, and on which device they are launched."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor


def triton_usable(x: Tensor) -> bool:
    """Whether a Triton kernel takes the place of the plain form: on CUDA, in float32 or half precision."""
    return x.is_cuda and x.dtype != torch.float64 and _has_triton()


def launched_beside(x: Tensor) -> AbstractContextManager[object]:
    """While entered, Triton launches on the device of ``x``: it takes the current device, not that of its arguments."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None
