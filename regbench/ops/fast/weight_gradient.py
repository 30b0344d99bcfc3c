"""The gradient of a 3x3 convolution's weight, from maps with channels last.

CPUs' libraries compute it from maps with channels first: copying both maps and working there takes 1.3 to 1.5 times as
long. Here a few rows of two samples at a time are written out with their left and right neighbours beside each pixel.
Each row of the kernel is then a matrix product, and memory holds neither copies of the maps nor all nine shifts.
"""

from __future__ import annotations

from torch import Tensor

PIXELS = 2048
"""Pixels of a sample that are written out with their neighbours at once, about."""


def weight_gradient(grad: Tensor, x: Tensor, after_relu: bool = False) -> Tensor:
    """The gradient for the weight of ``conv2d(x, weight, stride=1, padding=1)``, weight ``(O, C, 3, 3)``.

    Args:
        grad: gradient of the result, ``(B, O, H, W)``, channels last.
        x: ``(B, C, H, W)``, channels last.
        after_relu: the convolution read relu(x).

    Returns:
        ``(O, C, 3, 3)``.
    """
    b, c, h, w = x.shape
    outputs, together, rows = grad.shape[1], 2 - b % 2, min(h, max(1, PIXELS // w))
    x, grad = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    by_kernel_row = x.new_zeros(3, together, outputs, 3 * c)
    # Zeros remain where a pixel has no neighbour.
    neighbours = x.new_zeros(together, rows + 2, w, 3, c)
    for first in range(0, b, together):
        samples = slice(first, first + together)
        for y in range(0, h, rows):
            high = min(rows, h - y)
            read = slice(max(0, y - 1), min(h, y + high + 1))
            into = neighbours[:, read.start - y + 1 : read.stop - y + 1]
            pixels = x[samples, read]
            into[:, :, 1:, 0] = pixels[:, :, :-1]
            into[:, :, :, 1] = pixels
            into[:, :, :-1, 2] = pixels[:, :, 1:]
            if after_relu:
                into.relu_()
            if y == 0:
                neighbours[:, 0] = 0
            if y + high == h:
                neighbours[:, high + 1] = 0
            grad_rows = grad[samples, y : y + high].reshape(together, high * w, outputs).mT
            for dy in range(3):
                shifted = neighbours[:, dy : dy + high].view(together, high * w, 3 * c)
                by_kernel_row[dy].baddbmm_(grad_rows, shifted)
    return by_kernel_row.sum(1).view(3, outputs, 3, c).permute(1, 3, 0, 2).contiguous()
