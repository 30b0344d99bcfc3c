"""Layers of a decoder, "convolution, group norm, ReLU, perhaps max pooling", that keep little for the backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops.fast.convolution import convolution_gradients
from regbench.ops.fast.memory import cached_samples, channels_last, relu_gradient, small


def decoder_layers(x: Tensor, layers: Iterable[nn.Sequential], project: nn.Conv2d | None = None) -> Tensor:
    """Apply ``project``, then one layer after the other.

    A layer keeps its input and its convolved map for the backward pass, which recomputes normalisation, ReLU, pooling
    and, of large maps, the projection.

    Args:
        x: ``(B, C, h, w)``.
        layers: each is a 3x3 convolution with padding 1, a group norm, a ReLU and, if it halves, 2x2 max pooling.
        project: a 1x1 convolution.

    Returns:
        ``(B, O, h / 2^n, w / 2^n)``, n the number of layers that halve; channels last.
    """
    x = channels_last(x)
    for layer in layers:
        if torch.is_grad_enabled():
            x = _recomputed(x, layer, project)
        else:  # nothing to keep
            x = layer(x if project is None else project(x))
        project = None
    return x


def _recomputed(x: Tensor, layer: nn.Sequential, project: nn.Conv2d | None) -> Tensor:
    conv, norm, halves = layer[0], layer[1], len(layer) == 4
    before = (None, None) if project is None else (project.weight, project.bias)
    weights = conv.weight, conv.bias, norm.weight, norm.bias
    return _Layer.apply(x, *before, *weights, norm.num_groups, norm.eps, halves)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        before: Tensor | None,
        before_bias: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        groups: int,
        eps: float,
        halves: bool,
    ) -> Tensor:
        projected = x if before is None else F.conv2d(x, before, before_bias)
        convolved = F.conv2d(projected, weight, bias, padding=1)
        b, c, h, w = convolved.shape
        factor = 2 if halves else 1
        out = channels_last(x.new_empty(b, c, h // factor, w // factor))
        for part, into in cached_samples(convolved, out):
            active = F.group_norm(part, groups, scale, shift, eps).relu_()
            into.copy_(F.max_pool2d(active, 2) if halves else active)
        kept = projected if before is not None and small(x) else None
        ctx.save_for_backward(x, before, before_bias, weight, convolved, scale, shift, kept)
        ctx.settings = groups, eps, halves
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, before, before_bias, weight, convolved, scale, shift, kept = ctx.saved_tensors
        groups, eps, halves = ctx.settings
        c, h, w = convolved.shape[1:]
        d_convolved = torch.empty_like(convolved)
        d_scale, d_shift = torch.zeros_like(scale), torch.zeros_like(shift)
        for grad, part, into in cached_samples(channels_last(grads[0]), convolved, d_convolved):
            sizes = len(part), c, h * w, groups
            active, mean, rate = torch.native_group_norm(part, scale, shift, *sizes, eps)
            if halves:
                pooled, places = F.max_pool2d(active.relu_(), 2, return_indices=True)
                window = (2, 2), (2, 2), (0, 0), (1, 1), False
                grad = torch.ops.aten.max_pool2d_with_indices_backward(
                    relu_gradient(grad, pooled), active, *window, places
                )
            else:
                grad = relu_gradient(grad, active)
            d_part, *of_norm = torch.ops.aten.native_group_norm_backward(
                grad, part, mean, rate, scale, *sizes, [True, True, True]
            )
            into.copy_(d_part)
            d_scale += of_norm[0]
            d_shift += of_norm[1]
        of_norm = d_convolved.sum((0, 2, 3)), d_scale, d_shift, None, None, None
        need = ctx.needs_input_grad
        if before is None:
            d_x, d_weight = convolution_gradients(d_convolved, x, weight, (1, 1), (1, 1), (need[0], need[3]))
            return d_x, None, None, d_weight, *of_norm
        projected = F.conv2d(x, before, before_bias) if kept is None else kept
        d_projected, d_weight = convolution_gradients(d_convolved, projected, weight, (1, 1), (1, 1), (True, need[3]))
        del d_convolved, projected, kept
        assert d_projected is not None
        d_x, d_before = convolution_gradients(d_projected, x, before, (1, 1), (0, 0), need)
        return d_x, d_before, d_projected.sum((0, 2, 3)), d_weight, *of_norm
