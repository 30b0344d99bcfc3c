"""Sampling coordinates of a homography in one kernel, where there is Triton."""

from __future__ import annotations

from torch import Tensor


def homography_grid(displacement: Tensor, size: tuple[int, int], stride: float, *, flow: bool) -> Tensor:
    """As :func:`regbench.ops.homography_grid`, or with ``flow`` as :func:`regbench.ops.homography_flow`, on CUDA."""
    from regbench.ops.fast.homography_triton import HomographyGrid

    grid: Tensor = HomographyGrid.apply(displacement, size, stride, flow)
    return grid
