"""The four-point head: a feature map pooled down to 2 x 2, whose four cells are the four corners."""

from __future__ import annotations

from torch import Tensor


def corners_of_cells(cells: Tensor) -> Tensor:
    """``(B, 2, 2, 2)`` = (x|y, top|bottom, left|right) to ``(B, 4, 2)``: TL, TR, BL, BR; x then y."""
    return cells.permute(0, 2, 3, 1).reshape(-1, 4, 2)
