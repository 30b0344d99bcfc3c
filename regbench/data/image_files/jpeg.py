"""JPEG files: checked to be whole, decoded by Pillow.

Pillow and OpenCV give the same pixels (both use libjpeg-turbo), but in OpenCV libjpeg fills the rest of a truncated
file with grey and prints to the terminal.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.orientation import ORIENTATION, oriented
from regbench.data.image_files.refused import Refused, check_pixels, damaged

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""A marker; neither a stuffed byte nor a restart within a scan."""
_START, _END, _ALONE, _SCAN = 0xD8, 0xD9, 0x01, 0xDA
MAX_SCANS = 200
"""Scans of a progressive JPEG; each passes over all pixels, and cameras write about ten."""


def decode_jpeg(data: bytes) -> NDArray[Any]:
    """Decode a JPEG to ``(H, W)`` or ``(H, W, 3)`` RGB uint8, its EXIF orientation applied.

    Raises:
        Refused: it is truncated or damaged. What follows the end marker does not matter.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    whole, scans = _walk(data)
    if not whole:
        raise damaged(len(data))
    if scans > MAX_SCANS:
        raise Refused(f"is a JPEG of more than {MAX_SCANS} scans, which takes too long; save it again")
    try:
        picture: Any = JpegImageFile(BytesIO(data))
        check_pixels(*picture.size)
        if picture.mode not in ("L", "RGB"):
            picture = picture.convert("RGB")
        image = np.asarray(picture)
    except (OSError, SyntaxError, ValueError):
        raise damaged(len(data)) from None
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # metadata that cannot be read say nothing; Pillow has no common class for them
        orientation = 1
    return oriented(image, orientation)


def _walk(data: bytes) -> tuple[bool, int]:
    """Whether the markers of a JPEG lead from its start to its end marker, and how many scans start on the way.

    Segments are skipped by their length, so that the end marker of a thumbnail within one is not mistaken.
    """
    at, scans = 2, 0
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _END:
            return True, scans
        if marker == _START:
            return False, scans
        scans += marker == _SCAN
        if marker != _ALONE:
            at += int.from_bytes(data[at : at + 2])
    return False, scans
