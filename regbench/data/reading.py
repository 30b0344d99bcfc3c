"""What readers of image folders share: decoding files, with errors that name the file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.decode import Image as Image
from regbench.data.image_files.decode import decode, decode_visible
from regbench.data.image_files.refused import MAX_BYTES, Refused
from regbench.data.packs.sources import note_read
from regbench.errors import DataError


def read_image(path: Path, size: tuple[int, int] | None = None) -> Image:
    """Decode one image: the only way from an image file to pixels, for data sets and for a user's own pair.

    An alpha channel is dropped, the orientation in the metadata applied; ``docs/pixels.md`` lists what is opened.

    Args:
        path: the file.
        size: the (height, width) it must have, where the published layout fixes it.

    Returns:
        ``(H, W)`` or ``(H, W, 3)`` RGB; uint8 or uint16 as stored, other kinds as float32 with NaN for no data.

    Raises:
        DataError: the file is missing, truncated, no image, of another size, or of a kind of pixels that cannot be
            read; names it.
    """
    with errors_of(path):
        data = _bytes_of(path)
        note_read(path, data)
        image = decode(data)
    if size is not None and image.shape[:2] != size:
        raise DataError(f"{path} is {image.shape[1]}x{image.shape[0]}, expected {size[1]}x{size[0]}")
    return image


def read_image_and_mask(path: Path) -> tuple[Image, NDArray[np.bool_] | None]:
    """Decode one image as :func:`read_image` does, and where it is not transparent.

    Returns:
        The image, and ``(H, W)``, False where a PNG is transparent; None where nothing is.

    Raises:
        DataError: as :func:`read_image`.
    """
    with errors_of(path):
        data = _bytes_of(path)
        return decode(data), decode_visible(data)


def read_head(path: Path, count: int) -> bytes:
    """The first bytes of a file of any size; raises DataError for one that is missing, or no file."""
    with errors_of(path):
        _size_of(path)
        with path.open("rb") as file:
            return file.read(count)


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Raise what goes wrong with an image file as DataError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except Refused as reason:
        raise DataError(f"{path} {reason}") from None


def _bytes_of(path: Path) -> bytes:
    """A file's content; raises Refused for one that has no end or is too large to be an image."""
    if _size_of(path) > MAX_BYTES:
        raise Refused(f"is larger than {MAX_BYTES // 2**30} GiB; make it smaller first")
    return path.read_bytes()


def _size_of(path: Path) -> int:
    """A file's size; raises Refused for what is no file: to open a pipe may wait for ever."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Refused("is a folder" if stat.S_ISDIR(status.st_mode) else "is no file but a device or a pipe")
    return status.st_size


def read_aligned(a: Path, b: Path) -> tuple[Image, Image]:
    """Decode two images of the same place; raises DataError naming both when their sizes differ."""
    first, second = read_image(a), read_image(b)
    if first.shape[:2] != second.shape[:2]:
        sizes = [f"{path} is {image.shape[1]}x{image.shape[0]}" for path, image in ((a, first), (b, second))]
        raise DataError(f"sizes differ in an aligned pair: {sizes[0]}, {sizes[1]}")
    return first, second


def resize(image: Image, size: tuple[int, int], interpolation: Literal["auto", "bilinear"] = "auto") -> Image:
    """Bring an image to ``size`` (height, width), pixel centres, data type kept.

    ``auto`` averages areas when a side shrinks by more than 1.5 (bilinear would alias), else it is bilinear.
    """
    import cv2

    h, w = image.shape[:2]
    if (h, w) == size:
        return image
    shrinks = max(h / size[0], w / size[1]) > 1.5
    method = cv2.INTER_AREA if interpolation == "auto" and shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=method))
