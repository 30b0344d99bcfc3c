"""Why a file is not opened."""

MAX_PIXELS = 2**28
"""Pixels of the largest image that is decoded, 16384 x 16384: a small file can claim to be any size."""
MAX_PIXELS_BY_PARTS, MAX_SIDE_BY_PARTS = 2**34, 10**6
"""Of an image that is never decoded as a whole: all of it is looked at, some rows at a time."""
MAX_BYTES = 2**32
"""Bytes of the largest file that is read as an image."""


class Refused(Exception):
    """A file is not opened; the message continues a sentence that begins with its name."""


def damaged(size: int) -> Refused:
    """The refusal of a file of ``size`` bytes whose content is no whole image."""
    return Refused(f"({size} bytes) is truncated or not an image")


def check_pixels(width: int, height: int) -> None:
    """Raise Refused for an image that is too large to be decoded, before it is."""
    _check(width, height, MAX_PIXELS)


def check_pixels_by_parts(width: int, height: int) -> None:
    """Raise Refused for an image that is too large even to be decoded part by part."""
    if max(width, height) > MAX_SIDE_BY_PARTS:
        raise Refused(f"is {width}x{height} px, a side of more than {MAX_SIDE_BY_PARTS} px; cut it first")
    _check(width, height, MAX_PIXELS_BY_PARTS)


def _check(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise Refused(f"is {width}x{height} px, more than {most // 2**20} x 2^20; make it smaller first")
