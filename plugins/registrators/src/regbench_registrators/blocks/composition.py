"""How the estimates of two scales become one."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from regbench import geometry

Composition = Literal["add", "compose"]


def in_sequence(first: Tensor, second: Tensor, size: geometry.Size, composition: Composition) -> Tensor:
    """The displacement of applying ``first``, then ``second``.

    Args:
        first: ``(B, 4, 2)`` pixels.
        second: ``(B, 4, 2)`` pixels, of the frame ``first`` leads to.
        size: (height, width) of the patch.
        composition: ``compose`` multiplies the homographies, which is exact. ``add`` adds the displacements, as the
            published code does: the second is then read at the patch's corners, not where the first has moved them.

    Returns:
        ``(B, 4, 2)`` pixels.
    """
    if composition == "add":
        return first + second
    h1, h2 = (geometry.homography_from_displacement(d, size) for d in (first, second))
    return geometry.displacement_from_homography(geometry.compose(h2, h1), size)
