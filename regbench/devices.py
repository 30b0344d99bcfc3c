"""Devices: the current one of the process, and small tensors on their way to it."""

from __future__ import annotations

import torch
from torch import Tensor


def use(device: torch.device) -> torch.device:
    """Make a GPU the current one of this process, on which libraries launch kernels and pin memory; returns it.

    Without this the current device stays ``cuda:0``. With ``--device cuda:1``, and in every process of torchrun,
    kernels of Triton would be launched there, on memory of another GPU. A device without a number is the current one.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def to_device(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of the host on ``device``, without waiting for the work that is queued there.

    Args:
        x: on the CPU; small, such as random numbers of a step.
        device: where it is needed.
        dtype: converted to there; None keeps its own.
    """
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory().to(device, non_blocking=True)
    return x.to(device, dtype or x.dtype)
