"""Formats that OpenCV decodes rightly as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.refused import Refused, damaged


def decode_with_opencv(data: bytes) -> NDArray[Any]:
    """Decode an image to ``(H, W)`` or ``(H, W, 3)`` RGB as stored, without alpha, its orientation applied.

    Raises:
        Refused: OpenCV reads no image in it.
    """
    import cv2

    if not data:
        raise damaged(0)
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
