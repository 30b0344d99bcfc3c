"""Layers that depend on the whole batch, batch norm and dropout, for runs of several processes.

torch's ``SyncBatchNorm`` works on GPUs alone. This is the same computation through
:func:`regbench.distributed.batch.gather` on any device, so that tests on CPUs cover what trains on GPUs.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from regbench.distributed.batch import draw, gather, processes


def see_whole_batches(module: nn.Module) -> nn.Module:
    """Make batch norm and dropout within ``module`` work, in training steps, as if it held the whole batch.

    The layers keep their classes, parameters and buffers; only their ``forward`` is replaced. Returns ``module``.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.forward = partial(_batch_norm, layer)  # type: ignore[method-assign]
        elif isinstance(layer, _DropoutNd):
            layer.forward = partial(_dropout, layer)
    return module


def _batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
    """Normalise ``(B, C, ...)`` by mean and variance over all processes, and keep running statistics of both."""
    if processes() == 1 or not layer.training:
        return type(layer).forward(layer, x)
    values = x.float()
    over = [0, *range(2, x.ndim)]
    variance, mean = torch.var_mean(values, over, correction=0)
    each = gather(torch.stack([mean, variance])[None])  # (processes, 2, C); all have the same number of values
    mean = each[:, 0].mean(dim=0)
    variance = each[:, 1].mean(dim=0) + each[:, 0].var(dim=0, correction=0)
    if layer.running_mean is not None and layer.running_var is not None:
        count = processes() * values.numel() // values.shape[1]
        _update_running_statistics(layer, mean.detach(), variance.detach() * count / (count - 1))
    scale = (variance + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight
    shape = (1, -1, *(1 for _ in over[1:]))
    normalised = (values - mean.view(shape)) * scale.view(shape)
    return (normalised + layer.bias.view(shape) if layer.affine else normalised).to(x.dtype)


@torch.no_grad()
def _update_running_statistics(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    weight = layer.momentum if layer.momentum is not None else (1 / layer.num_batches_tracked).to(mean)
    layer.running_mean.lerp_(mean, weight)
    layer.running_var.lerp_(variance, weight)


def _dropout(layer: _DropoutNd, x: Tensor) -> Tensor:
    """Keep and scale the elements that one process with the whole batch would keep."""
    if processes() == 1 or not layer.training or layer.p == 0:
        return type(layer).forward(layer, x)

    def kept(count: int) -> Tensor:
        return type(layer).forward(layer, x.new_ones(count, *x.shape[1:]))

    return x * draw(kept, len(x))
