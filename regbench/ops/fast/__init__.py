"""Fast forms of operators and blocks. Each computes what the plain form beside its call computes, to rounding.

A caller states the plain form, as its paper has it, and lets :func:`usable` choose::

    def forward(self, x):
        if fast.usable(x):
            return fast.residual_block(x, self.conv1, self.conv2, self.shortcut)
        main = F.relu(F.instance_norm(self.conv1(x)))
        ...

Where the gain is. Convolutions run with channels last in memory, the order that CPUs' libraries are fast in.
Normalisations work in place on as many samples as the processor's cache holds. The backward pass recomputes what is
cheap to recompute, so that about half the memory is enough; of small maps, which take little memory, all is kept.
Correlations are matrix products of tiles, on CUDA one Triton kernel. Tests compare every fast form with its plain form,
results and gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regbench.ops.fast.all_pairs import AllPairs
from regbench.ops.fast.convolution import normalised_convolution
from regbench.ops.fast.decoder import decoder_layers
from regbench.ops.fast.homography import homography_grid
from regbench.ops.fast.kernels import triton_usable
from regbench.ops.fast.local_correlation import correlation
from regbench.ops.fast.residual import residual_block

__all__ = [
    "AllPairs",
    "correlation",
    "decoder_layers",
    "homography_grid",
    "normalised_convolution",
    "residual_block",
    "triton_usable",
    "usable",
]


def usable(x: Tensor, *, cuda: bool = False, onnx: bool = False) -> bool:
    """Whether a fast form takes the place of the plain one for this input.

    The fast forms are written for float32 and float64 on CPUs. Under autocast and in a graph for ONNX, where neither
    strided views nor backward passes exist, torch's own operators do the work.

    Args:
        x: the input.
        cuda: whether the form runs on CUDA too.
        onnx: whether the form can be exported.
    """
    device = x.device.type
    if device not in (("cpu", "cuda") if cuda else ("cpu",)):
        return False
    return not torch.is_autocast_enabled(device) and (onnx or not torch.onnx.is_in_onnx_export())
