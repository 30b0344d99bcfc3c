"""Decoders of the IHN family: convolutions with group norm pool a map down to 2 x 2, whose cells are the corners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regbench_registrators.blocks.convolution import Conv2d, channels_last, gradients, layout, parts, plain
from regbench_registrators.blocks.head import corners_of_cells


def poolings(name: str, patch: int, strides: Sequence[int]) -> list[int]:
    """How often the map at each stride is halved until it is 2 x 2.

    Args:
        name: of the network, for the error.
        patch: side of the input in pixels.
        strides: of the maps.

    Raises:
        ValueError: a map does not get there, or is 2 x 2 from the start.
    """
    found = [(patch // stride).bit_length() - 2 for stride in strides]
    if any(2 ** (n + 1) * s != patch or n < 1 for n, s in zip(found, strides, strict=True)):
        raise ValueError(
            f"{name} with strides {tuple(strides)} needs a patch that is a power of two, at least "
            f"{4 * max(strides)} px; got {patch}"
        )
    return found


class Layer(nn.Sequential):
    """A 3x3 convolution, group norm, ReLU and, if it halves, 2x2 max pooling.

    On CPUs input and convolved map alone are kept for the backward pass, which makes the rest again.
    """

    def __init__(self, inputs: int, outputs: int, groups: int, halves: bool = False) -> None:
        after = [nn.ReLU(inplace=True), nn.MaxPool2d(2)] if halves else [nn.ReLU(inplace=True)]
        super().__init__(Conv2d(inputs, outputs, 3, 1, 1), nn.GroupNorm(groups, outputs), *after)
        self.halves = halves

    def forward(self, x: Tensor, project: Conv2d | None = None) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h, w)``, or half its sides.

        Args:
            x: the map.
            project: a 1x1 convolution to be applied first, whose result is not kept either.
        """
        if plain(x) or not torch.is_grad_enabled():
            return super().forward(project(x) if project else x)
        conv, norm = self[0], self[1]
        before = (project.weight, project.bias) if project else (None, None)
        weights = conv.weight, conv.bias, norm.weight, norm.bias
        return _Layer.apply(x, *before, *weights, norm.num_groups, norm.eps, self.halves)


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
        for part, into in parts(convolved, out):
            active = F.group_norm(part, groups, scale, shift, eps).relu_()
            into.copy_(F.max_pool2d(active, 2) if halves else active)
        ctx.save_for_backward(x, before, before_bias, weight, convolved, scale, shift)
        ctx.settings = groups, eps, halves
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, before, before_bias, weight, convolved, scale, shift = ctx.saved_tensors
        groups, eps, halves = ctx.settings
        c, h, w = convolved.shape[1:]
        d_convolved = torch.empty_like(convolved)
        d_scale, d_shift = torch.zeros_like(scale), torch.zeros_like(shift)
        for given, part, into in parts(channels_last(grads[0]), convolved, d_convolved):
            sizes = len(part), c, h * w, groups
            active, mean, rate = torch.native_group_norm(part, scale, shift, *sizes, eps)
            if halves:
                pooled, places = F.max_pool2d(active.relu_(), 2, return_indices=True)
                window = (2, 2), (2, 2), (0, 0), (1, 1), False
                given = torch.ops.aten.max_pool2d_with_indices_backward(given * (pooled > 0), active, *window, places)
            else:
                given = given * (active > 0)
            d_part, *of_norm = torch.ops.aten.native_group_norm_backward(
                given, part, mean, rate, scale, *sizes, [True, True, True]
            )
            into.copy_(d_part)
            d_scale += of_norm[0]
            d_shift += of_norm[1]
        of_norm = d_convolved.sum((0, 2, 3)), d_scale, d_shift, None, None, None
        need = ctx.needs_input_grad
        if before is None:
            d_x, d_weight = gradients(d_convolved, x, weight, (1, 1), (1, 1), (need[0], need[3]))
            return d_x, None, None, d_weight, *of_norm
        projected = F.conv2d(x, before, before_bias)
        d_projected, d_weight = gradients(d_convolved, projected, weight, (1, 1), (1, 1), (True, need[3]))
        del d_convolved, projected
        d_x, d_before = gradients(d_projected, x, before, (1, 1), (0, 0), need)
        return d_x, d_before, d_projected.sum((0, 2, 3)), d_weight, *of_norm


class ProjectingDecoder(nn.Module):
    """1x1 projection, layers at full size, layers that halve, 1x1 head (MCNet; IHN in the form of SSHNet).

    Args:
        inputs: channels of the input.
        width: channels inside.
        pools: number of halvings.
        groups: of the group norms.
        before: layers at full size, before the halvings.
    """

    def __init__(self, inputs: int, width: int, pools: int, groups: int, before: int = 0) -> None:
        super().__init__()
        self.project = Conv2d(inputs, width, 1)
        self.before = nn.ModuleList(Layer(width, width, groups) for _ in range(before))
        self.layers = nn.ModuleList(Layer(width, width, groups, halves=True) for _ in range(pools))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        first, *others = (*self.before, *self.layers)
        x = first(layout(x, self.project.out_channels), self.project)
        for layer in others:
            x = layer(x)
        return corners_of_cells(self.head(x))


class HalvingDecoder(nn.Module):
    """Layers that halve, one layer at 2 x 2, 1x1 head (IHN, RHWF); a group of the group norm is 8 channels.

    Args:
        inputs: channels of the input.
        width: channels inside, a multiple of 8.
        pools: number of halvings.
    """

    def __init__(self, inputs: int, width: int, pools: int) -> None:
        super().__init__()
        groups = width // 8
        self.layers = nn.ModuleList(
            Layer(inputs if i == 0 else width, width, groups, halves=True) for i in range(pools)
        )
        self.last = Layer(width, width, groups)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        x = layout(x, self.last[0].out_channels)
        for layer in self.layers:
            x = layer(x)
        return corners_of_cells(self.head(self.last(x)))
