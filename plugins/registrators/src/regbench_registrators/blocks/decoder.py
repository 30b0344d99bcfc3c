"""Decoders of the IHN family: convolutions with group norm pool a map down to 2 x 2, whose cells are the corners."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from regbench.ops import fast
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
    counts = [(patch // stride).bit_length() - 2 for stride in strides]
    if any(2 ** (n + 1) * s != patch or n < 1 for n, s in zip(counts, strides, strict=True)):
        raise ValueError(
            f"{name} with strides {tuple(strides)} needs a patch that is a power of two, at least "
            f"{4 * max(strides)} px; got {patch}"
        )
    return counts


def layer(inputs: int, outputs: int, groups: int, halves: bool = False) -> nn.Sequential:
    """A 3x3 convolution, group norm, ReLU and, if it halves, 2x2 max pooling."""
    pool = [nn.MaxPool2d(2)] if halves else []
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1), nn.GroupNorm(groups, outputs), nn.ReLU(inplace=True), *pool
    )


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
        self.before = nn.ModuleList(layer(width, width, groups) for _ in range(before))
        self.layers = nn.ModuleList(layer(width, width, groups, halves=True) for _ in range(pools))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        layers = (*self.before, *self.layers)
        if fast.usable(x):
            return corners_of_cells(self.head(fast.decoder_layers(x, layers, self.project)))
        x = self.project(x)
        for apply in layers:
            x = apply(x)
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
            layer(inputs if i == 0 else width, width, groups, halves=True) for i in range(pools)
        )
        self.last = layer(width, width, groups)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, 4, 2)`` full-resolution pixels."""
        layers = (*self.layers, self.last)
        if fast.usable(x):
            return corners_of_cells(self.head(fast.decoder_layers(x, layers)))
        for apply in layers:
            x = apply(x)
        return corners_of_cells(self.head(x))
