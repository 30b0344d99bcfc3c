"""From corner displacements straight to sampling coordinates: of every pixel of a map, in one operator."""

from __future__ import annotations

from torch import Tensor

from regbench import geometry
from regbench.ops import fast


def homography_grid(displacement: Tensor, size: geometry.Size, stride: float = 1.0) -> Tensor:
    """The ``grid_sample`` grid of the homography that ``displacement / stride`` is at the corners of a map.

    Equals ``sampling_grid(homography_from_displacement(displacement / stride, size), size, size)``, whose closed form
    takes some sixty small operators, forward and backward; on CUDA this is one kernel each way.

    Args:
        displacement: ``(B, 4, 2)`` pixels at the corners. Half precision is promoted to float32.
        size: (height, width) of the map.
        stride: of the map, where the displacement is in pixels of the image.

    Returns:
        ``(B, height, width, 2)``, x then y; -1 and 1 are the centres of the outer pixels.
    """
    if fast.triton_usable(displacement):
        return fast.homography_grid(displacement, size, stride, flow=False)
    return geometry.sampling_grid(geometry.homography_from_displacement(displacement / stride, size), size, size)


def homography_flow(displacement: Tensor, size: geometry.Size, stride: float = 1.0) -> Tensor:
    """As :func:`homography_grid`, as flow: where each pixel leads, less the pixel.

    Args:
        displacement: ``(B, 4, 2)`` pixels at the corners.
        size: (height, width) of the map.
        stride: of the map.

    Returns:
        ``(B, 2, height, width)`` in pixels of the map, x then y.
    """
    if fast.triton_usable(displacement):
        return fast.homography_grid(displacement, size, stride, flow=True)
    h = geometry.homography_from_displacement(displacement / stride, size)
    grid = geometry.pixel_grid(size, like=h)
    moved = geometry.transform_points(h, grid, horizon=geometry.HORIZON)
    return (moved - grid).transpose(-1, -2).reshape(-1, 2, *size)
