"""Decoders of the IHN family: convolutions with group norm pool a map down to 2 x 2, whose cells are the corners."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from regbench_registrators._blocks.convolution import Conv2d, layout
from regbench_registrators._blocks.head import corners_of_cells


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


def refining(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    """A 3x3 convolution with group norm and ReLU."""
    return nn.Sequential(Conv2d(inputs, outputs, 3, 1, 1), nn.GroupNorm(groups, outputs), nn.ReLU(inplace=True))


def halving(inputs: int, outputs: int, groups: int) -> nn.Sequential:
    """A 3x3 convolution with group norm and ReLU, then 2x2 max pooling."""
    return refining(inputs, outputs, groups).append(nn.MaxPool2d(2))


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
        self.project = nn.Conv2d(inputs, width, 1)
        self.before = nn.ModuleList(refining(width, width, groups) for _ in range(before))
        self.layers = nn.ModuleList(halving(width, width, groups) for _ in range(pools))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        x = self.project(layout(x, self.project.out_channels))
        for layer in (*self.before, *self.layers):
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
        self.layers = nn.ModuleList(halving(inputs if i == 0 else width, width, groups) for i in range(pools))
        self.last = refining(width, width, groups)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        x = layout(x, self.last[0].out_channels)
        for layer in self.layers:
            x = layer(x)
        return corners_of_cells(self.head(self.last(x)))
