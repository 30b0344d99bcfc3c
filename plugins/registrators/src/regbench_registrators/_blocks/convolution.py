"""Convolutions of the IHN family on CPUs: channels last, and little kept for the backward pass.

Networks of the published widths are faster channels last, with all that lies between the convolutions; narrow ones are
not. Nor are the gradients of weights: they are taken from copies with channels first. Instance norm works in place, and
a ReLU before a convolution is made again in the backward pass, so that one map a convolution is kept in the place of
two. Elsewhere (channels first, on CUDA, under autocast, in a graph for export) the plain operators do the same.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5
"""Of instance norm, torch's default."""

WIDE = 64
"""Most channels of a network from which on its maps are kept channels last."""


def layout(x: Tensor, channels: int) -> Tensor:
    """The map in the order of memory that suits a network of at most so many channels where it lives."""
    return _channels_last(x) if x.device.type == "cpu" and channels >= WIDE else x


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _plain(x: Tensor) -> bool:
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.onnx.is_in_onnx_export():
        return True
    return not x.is_contiguous(memory_format=torch.channels_last)


class Conv2d(nn.Conv2d):
    """A convolution without dilation or groups whose weight gradient is fast channels last too."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the convolved map."""
        if _plain(x):
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.bias, self.stride, self.padding)

    def normalised(self, x: Tensor, after_relu: bool = False) -> Tensor:
        """Convolve ``x``, or its ReLU, then instance norm without affine parameters; ``x`` is not changed.

        The bias has no effect, since the norm takes the mean away; its gradient is zero.
        """
        if _plain(x):
            return F.instance_norm(super().forward(x.relu() if after_relu else x), eps=EPS)
        return _NormalisedConvolution.apply(x, self.weight, self.bias, self.stride, self.padding, after_relu)


def residual_sum(main: Tensor, shortcut: Tensor) -> Tensor:
    """relu(relu(main) + shortcut)."""
    if _plain(main):
        return F.relu(F.relu(main) + shortcut)
    return _ResidualSum.apply(main, shortcut)


def _mean(x: Tensor) -> Tensor:
    """Mean over a map's positions, ``(B, C, 1, 1)``: of each column, then of these; long sums lose digits."""
    rows = x.permute(0, 2, 3, 1)
    b, h, w, c = rows.shape
    return rows.reshape(b, h, w * c).mean(1).view(b, w, c).mean(1)[..., None, None]


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any, need_x: bool, need_weight: bool
) -> Any:
    """Gradients of a convolution for its input and its weight, None where not needed."""

    def backward(grad: Tensor, x: Tensor, mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1, mask
        )

    d_x = backward(grad, x, [True, False, False])[0] if need_x else None
    d_weight = backward(grad.contiguous(), x.contiguous(), [False, True, False])[1] if need_weight else None
    return d_x, d_weight


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = _channels_last(grads[0])
        d_x, d_weight = _gradients(grad, x, weight, *ctx.settings, *ctx.needs_input_grad[:2])
        return d_x, d_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None


class _NormalisedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, after_relu: bool
    ) -> Tensor:
        out = F.conv2d(x.relu() if after_relu else x, weight, None, stride, padding)
        out -= _mean(out)  # before squaring, which would lose the digits of what is small beside the mean
        rate = (_mean(out * out) + EPS).rsqrt()
        out *= rate
        ctx.save_for_backward(x, weight, bias, out, rate)
        ctx.settings, ctx.after_relu = (stride, padding), after_relu
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, out, rate = ctx.saved_tensors
        grad = _channels_last(grads[0])
        along = _mean(grad * out)
        grad = (grad - _mean(grad)).addcmul_(out, along, value=-1).mul_(rate)
        before = x.relu() if ctx.after_relu else x
        d_x, d_weight = _gradients(grad, before, weight, *ctx.settings, *ctx.needs_input_grad[:2])
        if ctx.after_relu and d_x is not None:
            d_x *= x > 0
        d_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        return d_x, d_weight, d_bias, None, None, None


class _ResidualSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, main: Tensor, shortcut: Tensor) -> Tensor:
        out = main.relu().add_(shortcut).relu_()
        ctx.save_for_backward(main, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        main, out = ctx.saved_tensors
        d_shortcut = grads[0] * (out > 0)
        return d_shortcut * (main > 0), d_shortcut
