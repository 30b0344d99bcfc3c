"""Convolutions of the IHN family on CPUs: channels last, and little kept for the backward pass.

Networks of the published widths are faster channels last, with all that lies between the convolutions; narrow ones are
not. Instance norm works in place, a few samples at a time: what lies between its passes stays in the processor's cache.
A ReLU before a convolution is made again in the backward pass, so that one map a convolution is kept in the place of
two. Elsewhere (channels first, on CUDA, under autocast, in a graph for export) the plain operators do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench_registrators.blocks.weight_gradient import weight_gradient

EPS = 1e-5
"""Of instance norm, torch's default."""

WIDE = 64
"""Most channels of a network from which on its maps are kept channels last."""

CACHED = 2**19
"""Numbers worked on at once, about."""


def layout(x: Tensor, channels: int) -> Tensor:
    """The map in the order of memory that suits a network of at most so many channels where it lives."""
    return channels_last(x) if x.device.type == "cpu" and channels >= WIDE else x


def channels_last(x: Tensor) -> Tensor:
    """The map, with channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def plain(x: Tensor) -> bool:
    """Whether the plain operators are to work on this map."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.onnx.is_in_onnx_export():
        return True
    return not x.is_contiguous(memory_format=torch.channels_last)


class Conv2d(nn.Conv2d):
    """A convolution without dilation or groups whose weight gradient is fast channels last too."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the convolved map."""
        if plain(x):
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.bias, self.stride, self.padding)

    def normalised(self, x: Tensor, after_relu: bool = False) -> Tensor:
        """Convolve ``x``, or its ReLU, then instance norm without affine parameters; ``x`` is not changed.

        The bias has no effect, since the norm takes the mean away; its gradient is zero.
        """
        if plain(x):
            return F.instance_norm(super().forward(x.relu() if after_relu else x), eps=EPS)
        return _NormalisedConvolution.apply(x, self.weight, self.bias, self.stride, self.padding, after_relu)

    def residual(self, main: Tensor, x: Tensor) -> Tensor:
        """relu(relu(main) + normalised(x)): the end of a residual block, whose shortcut this convolution is."""
        if plain(x):
            return F.relu(F.relu(main) + self.normalised(x))
        return _Residual.apply(channels_last(main), x, self.weight, self.bias, self.stride, self.padding)


def parts(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few samples of each, as many as the cache takes."""
    step = max(1, CACHED // maps[0][0].numel())
    return iter([maps]) if step >= len(maps[0]) else zip(*(x.split(step) for x in maps), strict=True)


def _mean(x: Tensor) -> Tensor:
    """Mean over a map's positions, ``(B, C, 1, 1)``: of each column, then of these; long sums lose digits."""
    rows = x.permute(0, 2, 3, 1)
    b, h, w, c = rows.shape
    return rows.reshape(b, h, w * c).mean(1).view(b, w, c).mean(1)[..., None, None]


def gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Any,
    padding: Any,
    needed: tuple[bool, ...],
    after_relu: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of a convolution of ``x``, or of its ReLU, for its input and its weight, None where not needed."""

    def backward(grad: Tensor, x: Tensor, mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), 1, mask
        )

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
        for d, before in parts(d_x, x):
            d *= before > 0
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
        grad = channels_last(grads[0])
        d_x, d_weight = gradients(grad, x, weight, *ctx.settings, ctx.needs_input_grad)
        return d_x, d_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None


def _normalise(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Instance norm in place; the means, and the rates the differences from them were multiplied with."""
    means, rates = (maps.new_empty(*maps.shape[:2], 1, 1) for _ in range(2))
    for part, mean, rate in parts(maps, means, rates):
        mean.copy_(_mean(part))
        part -= mean  # before squaring, which would lose the digits of what is small beside the mean
        torch.rsqrt(_mean(part * part) + EPS, out=rate)
        part *= rate
    return means, rates


def _through_norm(given: Tensor, normalised: Tensor, rate: Tensor, out: Tensor) -> None:
    """The gradient through instance norm; ``out`` may be ``given``."""
    along = _mean(given * normalised)
    torch.sub(given, _mean(given), out=out).addcmul_(normalised, along, value=-1).mul_(rate)


class _NormalisedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, after_relu: bool
    ) -> Tensor:
        out = F.conv2d(x.relu() if after_relu else x, weight, None, stride, padding)
        _, rates = _normalise(out)
        ctx.save_for_backward(x, weight, bias, out, rates)
        ctx.settings, ctx.after_relu = (stride, padding), after_relu
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, out, rates = ctx.saved_tensors
        grad = torch.empty_like(out)
        for given, part, rate, into in parts(channels_last(grads[0]), out, rates, grad):
            _through_norm(given, part, rate, into)
        d_x, d_weight = gradients(grad, x, weight, *ctx.settings, ctx.needs_input_grad, ctx.after_relu)
        d_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        return d_x, d_weight, d_bias, None, None, None


class _Residual(torch.autograd.Function):
    """The shortcut's map is made again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, main: Tensor, x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any) -> Tensor:
        out = F.conv2d(x, weight, None, stride, padding)
        means, rates = _normalise(out)
        for part, of_main in parts(out, main):
            part.add_(of_main.relu()).relu_()
        ctx.save_for_backward(main, x, weight, bias, out, means, rates)
        ctx.settings = stride, padding
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        main, x, weight, bias, out, means, rates = ctx.saved_tensors
        d_main, shortcut = torch.empty_like(main), F.conv2d(x, weight, None, *ctx.settings)
        maps = channels_last(grads[0]), main, out, means, rates, d_main, shortcut
        for given, of_main, of_out, mean, rate, into_main, part in parts(*maps):
            part.sub_(mean).mul_(rate)
            given = given * (of_out > 0)
            torch.mul(given, of_main > 0, out=into_main)
            _through_norm(given, part, rate, given)
            part.copy_(given)  # what was made again gives its place to its gradient
        d_x, d_weight = gradients(shortcut, x, weight, *ctx.settings, ctx.needs_input_grad[1:])
        return d_main, d_x, d_weight, torch.zeros_like(bias) if ctx.needs_input_grad[3] else None, None, None
