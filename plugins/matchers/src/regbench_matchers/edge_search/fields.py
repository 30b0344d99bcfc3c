"""A grey image at a working size as a field of edge orientations, seen through a homography."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench.ops import edge_field

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]
Size = tuple[int, int]

RIM = 2
"""Pixels beside what an image does not show, where edges are those of the rim."""


@dataclass(frozen=True)
class Field:
    """Edge orientations and where they are known.

    Attributes:
        values: ``(1, 2, h, w)``, doubled angles, zero where the mask is.
        mask: ``(1, 1, h, w)``, 1 where the image shows something.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Working:
    """An image at working size.

    Attributes:
        grey: ``(h, w)`` in [0, 1].
        from_whole: ``(3, 3)``, pixels of the whole image to those of ``grey``.
    """

    grey: Floats
    from_whole: Matrix

    @property
    def size(self) -> Size:
        """Height and width, px."""
        return (self.grey.shape[0], self.grey.shape[1])


def shrunk(grey: Floats, factor: float) -> Working:
    """An image, ``factor`` times as large; as it is from 1 on."""
    if factor >= 1:
        return Working(grey, np.eye(3))
    h, w = grey.shape
    size = max(1, round(h * factor)), max(1, round(w * factor))
    y, x = size[0] / h, size[1] / w
    small = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
    return Working(np.asarray(small, np.float32), np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]))


def field(image: Working, homography: Matrix, size: Size, blur: float) -> Field:
    """The field of an image that is laid on a grid.

    Args:
        image: what is seen.
        homography: pixels of the image to pixels of the grid.
        size: of the grid.
        blur: of the field, standard deviation in px: how far edges may lie apart and still agree. Smoothing of gradient
            channels is what makes CFOG (Ye et al., TGRS 2019) tolerate what is left of a deformation.
    """
    scale = math.sqrt(abs(float(np.linalg.det(homography[:2, :2]))))
    grey = image.grey
    if scale < 1:  # smaller on the grid: without the frequencies that the grid cannot hold
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.5 * math.sqrt(1 / scale**2 - 1) + 1e-3), np.float32)
    extent = size[::-1]
    seen = cv2.warpPerspective(np.ones_like(grey), homography, extent)
    laid = cv2.warpPerspective(grey, homography, extent, borderMode=cv2.BORDER_REPLICATE)
    known = np.pad((seen > 0.999).astype(np.uint8), 1)  # the grid's own rim is one, too
    inner = cv2.erode(known, np.ones((2 * RIM + 1,) * 2, np.uint8))[1:-1, 1:-1].astype(np.float32)
    angles = edge_field(torch.from_numpy(laid)[None, None])[0].numpy()
    values = np.stack([cv2.GaussianBlur(angle, (0, 0), blur) * inner for angle in angles])
    return Field(torch.from_numpy(values)[None], torch.from_numpy(inner)[None, None])
