"""Group norm for networks of any width."""

from __future__ import annotations

import math

from torch import nn


def group_norm(channels: int, groups: int, least: int = 1) -> nn.GroupNorm:
    """Group norm whose groups are not too small.

    A group of one channel removes the mean and the contrast of every map, so that the brightness of an image hardly
    reaches the output.

    Args:
        channels: of the map.
        groups: their number, or as many of them as divide ``channels``.
        least: channels of a group where there would be fewer; a map with fewer channels is one group.
    """
    number = math.gcd(groups, channels)
    if channels < number * least:
        number = math.gcd(max(channels // least, 1), channels)
    return nn.GroupNorm(number, channels)
