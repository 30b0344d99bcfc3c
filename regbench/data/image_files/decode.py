"""Bytes of an image file to pixels, whatever the format: opened rightly, or refused with the kind of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.jpeg import decode_jpeg
from regbench.data.image_files.png import has_alpha, without_extras
from regbench.data.image_files.refused import Refused
from regbench.data.image_files.tiff import decode_tiff, is_tiff
from regbench.data.image_files.with_opencv import decode_with_opencv, visible_of_png

Image = NDArray[np.generic]
"""``(H, W)`` grey or ``(H, W, 3)`` RGB; uint8 or uint16 as stored, else float32."""


def decode(data: bytes) -> Image:
    """Decode an image file.

    Args:
        data: its bytes; JPEG, PNG, TIFF, BMP, WebP, PGM and what else OpenCV reads. The first page or frame counts.

    Returns:
        ``(H, W)`` or ``(H, W, 3)`` RGB in the orientation its metadata ask for, without an alpha channel. 8 and 16 bits
        without a sign are as stored; fewer bits fill 8; float and other integer pixels become float32, where NaN is
        no data.

    Raises:
        Refused: the file is truncated, no image, or its pixels are of a kind that has no meaning here; says which.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            image = decode_jpeg(data)
        elif is_tiff(data):
            image = decode_tiff(data)
        else:
            image = decode_with_opencv(without_extras(data))
    except MemoryError:
        raise Refused("is too large for the memory of this machine; make it smaller first") from None
    return _supported(image)


def decode_visible(data: bytes) -> NDArray[np.bool_] | None:
    """Where a PNG with alpha is not transparent, ``(H, W)`` in the orientation of :func:`decode`; None where all is.

    Raises:
        Refused: as :func:`decode`.
    """
    visible = visible_of_png(without_extras(data)) if has_alpha(data) else None
    return None if visible is None or visible.all() else visible


def _supported(image: NDArray[Any]) -> Image:
    """Pixels as one of the three types that the rest of the program knows."""
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise Refused(f"holds an array of shape {image.shape}, not one image")
    bands = image.shape[2] if image.ndim == 3 else 1
    if bands == 1:
        image = image.reshape(image.shape[:2])
    elif bands != 3:
        raise Refused(f"has {bands} bands; one (grey) or three (RGB) can be read: store those you want in a file")
    if image.dtype.kind == "b":
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
    if image.dtype.kind not in "iuf":
        raise Refused(f"holds {image.dtype} pixels; integers and floats can be read")
    pixels = image.astype(np.float32)
    pixels[~np.isfinite(pixels)] = np.nan
    return pixels
