"""Fast forms of operators and blocks. Each computes what the plain form beside its call computes, to rounding.

A caller states the plain form, as its paper has it, and lets :func:`usable` choose::

    def forward(self, x):
        if fast.usable(x, self.width):
            return fast.residual_block(x, self.conv1, self.conv2, self.shortcut)
        main = F.relu(F.instance_norm(self.conv1(x)))
        ...

Where the gain is. Convolutions run with channels last in memory, the order that CPUs' libraries are fast in.
Normalisations work in place on as many samples as the processor's cache holds. The backward pass recomputes what is
cheap to recompute, so that about half the memory is enough. Correlations are matrix products of tiles, on CUDA one
Triton kernel. Tests compare every fast form with its plain form, results and gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench.ops.fast.all_pairs import AllPairs
from regbench.ops.fast.convolution import normalised_convolution
from regbench.ops.fast.decoder import decoder_layers
from regbench.ops.fast.local_correlation import correlation
from regbench.ops.fast.residual import residual_block

__all__ = ["AllPairs", "correlation", "decoder_layers", "normalised_convolution", "residual_block", "usable"]

WIDE = 64
"""Widest maps of a network, in channels, from which on channels last is the faster order of memory."""


def usable(x: Tensor, width: int | None = None, *, cuda: bool = False, onnx: bool = False) -> bool:
    """Whether a fast form takes the place of the plain one for this input.

    The fast forms are written for float32 and float64 on CPUs. Under autocast and in a graph for ONNX, where neither
    strided views nor backward passes exist, torch's own operators do the work.

    Args:
        x: the input.
        width: channels of the network's widest maps, for forms that need channels last: narrow networks are faster in
            the order their maps come in, unless that is channels last already. None: the order does not matter.
        cuda: whether the form runs on CUDA too.
        onnx: whether the form can be exported.
    """
    device = x.device.type
    if device not in (("cpu", "cuda") if cuda else ("cpu",)):
        return False
    if torch.is_autocast_enabled(device) or (torch.onnx.is_in_onnx_export() and not onnx):
        return False
    return width is None or width >= WIDE or x.is_contiguous(memory_format=torch.channels_last)
