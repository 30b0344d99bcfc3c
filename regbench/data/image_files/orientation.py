"""The orientation that EXIF and TIFF give an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ORIENTATION = 274
"""The tag, in EXIF as in TIFF."""


def oriented(image: NDArray[Any], orientation: Any) -> NDArray[Any]:
    """An image ``(H, W, ...)`` as it is to be shown, by the tag's value: 1 (as it is) to 8; others count as 1."""
    if orientation not in range(2, 9):
        return image
    if orientation >= 5:  # rows and columns change places
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
