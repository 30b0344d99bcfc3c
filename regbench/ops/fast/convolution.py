"""Convolutions on channels-last maps: their gradients, and convolution with instance norm as one operator."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops.fast import instance_norm
from regbench.ops.fast.memory import cached_samples, channels_last, relu_gradient, small
from regbench.ops.fast.weight_gradient import weight_gradient


def convolution_gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Any,
    padding: Any,
    needed: tuple[bool, ...],
    after_relu: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``conv2d(x, weight)``, or of ``conv2d(relu(x), weight)``, without dilation and groups.

    Args:
        grad: gradient of the result, channels last.
        x: the input, channels last.
        weight: ``(O, C, k, k)``.
        stride: of the convolution.
        padding: of the convolution.
        needed: whether the input's and the weight's gradient are wanted.
        after_relu: the convolution read relu(x).

    Returns:
        The gradients for ``x`` and ``weight``, None where not needed.
    """

    def backward(grad: Tensor, x: Tensor, mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1, mask
        )

    if small(x):  # the library is fastest with channels last, and both gradients at once
        d_x, d_weight, _ = backward(grad, x.relu() if after_relu else x, [needed[0], needed[1], False])
        return relu_gradient(d_x, x) if after_relu and d_x is not None else d_x, d_weight
    d_x = backward(grad, x, [True, False, False])[0] if needed[0] else None
    d_weight = None
    if needed[1]:
        kernel = weight.shape[2:]
        if kernel == (3, 3) and stride == (1, 1) and padding == (1, 1):
            d_weight = weight_gradient(grad, x, after_relu)
        else:
            before = x.relu() if after_relu else x
            if kernel != (1, 1):  # the library is faster with channels first
                grad, before = grad.contiguous(), before.contiguous()
            d_weight = backward(grad, before, [False, True, False])[1]
    if after_relu and d_x is not None:
        for d, before in cached_samples(d_x, x):
            relu_gradient(d, before, out=d)
    return d_x, d_weight


def normalised_convolution(x: Tensor, conv: nn.Conv2d, after_relu: bool = False) -> Tensor:
    """``instance_norm(conv(x))``, or ``instance_norm(conv(relu(x)))``.

    Kept for the backward pass are the input and the result. The bias has no effect, since the norm takes the mean
    away; its gradient is zero.

    Args:
        x: ``(B, C, H, W)``; not changed.
        conv: without dilation and groups.
        after_relu: convolve relu(x), which the backward pass recomputes.

    Returns:
        ``(B, O, H', W')``, channels last.
    """
    return _NormalisedConvolution.apply(channels_last(x), conv.weight, conv.bias, conv.stride, conv.padding, after_relu)


class _NormalisedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, after_relu: bool
    ) -> Tensor:
        out = F.conv2d(x.relu() if after_relu else x, weight, None, stride, padding)
        _, rates = instance_norm.normalise_(out)
        ctx.save_for_backward(x, weight, bias, out, rates)
        ctx.stride, ctx.padding, ctx.after_relu = stride, padding, after_relu
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, out, rates = ctx.saved_tensors
        d_convolved = torch.empty_like(out)
        for grad, normalised, rate, into in cached_samples(channels_last(grads[0]), out, rates, d_convolved):
            instance_norm.backward(grad, normalised, rate, into)
        d_x, d_weight = convolution_gradients(
            d_convolved, x, weight, ctx.stride, ctx.padding, ctx.needs_input_grad, ctx.after_relu
        )
        d_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        return d_x, d_weight, d_bias, None, None, None
