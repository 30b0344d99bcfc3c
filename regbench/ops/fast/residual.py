"""The residual block of the IHN family: three convolutions with instance norm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench.ops.fast import instance_norm
from regbench.ops.fast.convolution import convolution_gradients, normalised_convolution
from regbench.ops.fast.memory import cached_samples, channels_last, relu_gradient, small


def residual_block(x: Tensor, conv1: nn.Conv2d, conv2: nn.Conv2d, shortcut: nn.Conv2d) -> Tensor:
    """``relu(main + norm(shortcut(x)))`` with ``main = relu(norm(conv2(relu(norm(conv1(x))))))``.

    ``norm`` is instance norm without affine parameters. The backward pass recomputes the ReLUs and, of large
    maps, the shortcut's.

    Args:
        x: ``(B, C, H, W)``; not changed.
        conv1: 3x3, of the block's stride.
        conv2: 3x3, of stride 1.
        shortcut: 1x1, of the block's stride.

    Returns:
        ``(B, O, H / stride, W / stride)``, channels last.
    """
    x = channels_last(x)
    main = normalised_convolution(normalised_convolution(x, conv1), conv2, after_relu=True)
    return residual_sum(main, x, shortcut)


def residual_sum(main: Tensor, x: Tensor, shortcut: nn.Conv2d) -> Tensor:
    """``relu(relu(main) + norm(shortcut(x)))``, the end of a residual block.

    Args:
        main: ``(B, O, H', W')``, the main path before its last ReLU.
        x: ``(B, C, H, W)``, the block's input.
        shortcut: from the input's shape to the main path's.

    Returns:
        ``(B, O, H', W')``, channels last.
    """
    maps = channels_last(main), channels_last(x)
    return _ResidualSum.apply(*maps, shortcut.weight, shortcut.bias, shortcut.stride, shortcut.padding)


class _ResidualSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, main: Tensor, x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any) -> Tensor:
        out = F.conv2d(x, weight, None, stride, padding)
        means, rates = instance_norm.normalise_(out)
        kept = None
        if small(out):
            kept, out = out, main.relu().add_(out).relu_()
        else:
            for part, of_main in cached_samples(out, main):
                part.add_(of_main.relu()).relu_()
        ctx.save_for_backward(main, x, weight, bias, out, means, rates, kept)
        ctx.stride, ctx.padding = stride, padding
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        main, x, weight, bias, out, means, rates, kept = ctx.saved_tensors
        d_main = torch.empty_like(main)
        if kept is not None:
            shortcut = relu_gradient(channels_last(grads[0]), out)
            relu_gradient(shortcut, main, out=d_main)
            instance_norm.backward(shortcut, kept, rates, shortcut)
        else:
            shortcut = F.conv2d(x, weight, None, ctx.stride, ctx.padding)
            maps = channels_last(grads[0]), main, out, means, rates, d_main, shortcut
            for grad, of_main, of_out, mean, rate, into_main, part in cached_samples(*maps):
                part.sub_(mean).mul_(rate)
                grad = relu_gradient(grad, of_out)
                relu_gradient(grad, of_main, out=into_main)
                instance_norm.backward(grad, part, rate, grad)
                part.copy_(grad)  # the recomputed map gives its memory to its gradient
        d_x, d_weight = convolution_gradients(shortcut, x, weight, ctx.stride, ctx.padding, ctx.needs_input_grad[1:])
        return d_main, d_x, d_weight, torch.zeros_like(bias) if ctx.needs_input_grad[3] else None, None, None
