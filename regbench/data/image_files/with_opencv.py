"""Formats that OpenCV decodes rightly as they are."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.orientation import ORIENTATION, oriented
from regbench.data.image_files.png import SIGNATURE
from regbench.data.image_files.refused import Refused, check_pixels, damaged

_HEADERS = ("BMP", "PPM", "WEBP", "JPEG2000", "SUN")
"""Formats whose size is read from their header before they are decoded."""


def decode_with_opencv(data: bytes) -> NDArray[Any]:
    """Decode an image to ``(H, W)`` or ``(H, W, 3)`` RGB as stored, without alpha, its orientation applied.

    Raises:
        Refused: OpenCV reads no image in it.
    """
    import cv2

    if not data:
        raise damaged(0)
    _check_size(data)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said by us, in one line
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        if "CV_IO_MAX" in str(error) or "nsufficient memory" in str(error):
            raise Refused("is too large to be decoded; make it smaller first") from None
        image = None
    if image is None:
        raise damaged(len(data))
    return np.asarray(image[..., ::-1] if image.ndim == 3 else image)


def visible_of_png(data: bytes) -> NDArray[np.bool_]:
    """Where the alpha of a PNG that has one is above zero, ``(H, W)``, its orientation applied.

    Raises:
        Refused: OpenCV reads no image in it.
    """
    import cv2
    from PIL import Image

    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # as stored, not turned
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise damaged(len(data))
    try:
        orientation = Image.open(BytesIO(data), formats=("PNG",)).getexif().get(ORIENTATION, 1)
    except Exception:  # metadata that cannot be read say nothing; Pillow has no common class for them
        orientation = 1
    return np.asarray(oriented(image[..., 3] > 0, orientation))


def _check_size(data: bytes) -> None:
    """Raise Refused for an image that is too large, by its header alone, which OpenCV does not tell."""
    from PIL import Image

    if data.startswith(SIGNATURE):
        return  # it was looked at when its chunks were
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size = Image.open(BytesIO(data), formats=_HEADERS).size
    except Image.DecompressionBombError:
        raise Refused("is too large to be decoded; make it smaller first") from None
    except Exception:  # a format Pillow does not know; OpenCV has a limit of its own
        return
    check_pixels(*size)
