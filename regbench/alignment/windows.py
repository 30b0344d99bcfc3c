"""Stored pixels by windows: of an array, or of a TIFF file without reading all of it."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.orientation import ORIENTATION
from regbench.data.image_files.refused import check_pixels, check_pixels_by_parts
from regbench.data.image_files.tiff import BLACK_IS_ZERO, RGB, bands_of, by_tifffile, check_whole, nodata_of
from regbench.errors import DataError

Array = NDArray[Any]
_GREY_OR_COLOUR = (BLACK_IS_ZERO, RGB)
_KEPT_BYTES = 2**26
"""Of decoded tiles of a TIFF."""
LARGE_SEGMENT = 2**24
"""Bytes of a strip from which reading it for each window costs more than having the image in memory."""
_STRIP_PIXELS = 2**22
"""Pixels read at a time, so that an image is never in memory as floats."""


class Window(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of an image, the last ones not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


class Pixels(Protocol):
    """Stored pixels of an image, read by windows."""

    size: tuple[int, int]
    """Height and width."""
    bands: int
    """Without alpha."""
    dtype: np.dtype[Any]
    nodata: float | None
    """Stored value that means no data; None where there is none. NaN always means it."""

    def read(self, window: Window) -> Array:
        """``(h, w, bands)`` as stored."""

    def alpha(self, window: Window) -> NDArray[np.bool_] | None:
        """``(h, w)``, False where the image is transparent; None where it has no alpha."""


class ArrayPixels:
    """An array ``(H, W)`` or ``(H, W, C)`` in memory, with a mask ``(H, W)`` of what is not transparent."""

    def __init__(self, array: Array, visible: NDArray[np.bool_] | None = None, nodata: float | None = None) -> None:
        self._array = array[..., None] if array.ndim == 2 else array
        self._visible = visible
        self.size = (array.shape[0], array.shape[1])
        self.bands, self.dtype, self.nodata = self._array.shape[2], array.dtype, nodata

    def read(self, window: Window) -> Array:
        """A view of the array."""
        return self._array[window.top : window.bottom, window.left : window.right]

    def alpha(self, window: Window) -> NDArray[np.bool_] | None:
        """A view of the mask."""
        return None if self._visible is None else self._visible[window.top : window.bottom, window.left : window.right]


class TiffPixels:
    """The first page of a TIFF, of which the tiles or strips under a window are decoded.

    Raises:
        ValueError: it is of a kind that has to be read as a whole (palettes, inks, fewer than 8 bits, white is zero,
            turned, or compressed in a way that tifffile leaves to others).
        Refused: it is truncated, or too large.
        Exception: what tifffile raises on a damaged file.
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
        self._path, self._file = path, tifffile.TiffFile(path)
        page: Any = self._file.pages[0]
        self._page = page
        turned = ORIENTATION in page.tags and page.tags[ORIENTATION].value != 1
        plain = page.dtype is not None and page.dtype.kind in "uif" and page.bitspersample in (8, 16, 32, 64)
        if (
            page.photometric not in _GREY_OR_COLOUR or turned or not plain or page.imagedepth > 1
            or not by_tifffile(page)
        ):  # fmt: skip
            raise ValueError("of a kind that has to be read as a whole")
        check_whole(page, self._file.filehandle.size)
        check_pixels_by_parts(page.imagewidth, page.imagelength)
        self.size = (page.imagelength, page.imagewidth)
        self.bands = bands_of(page)
        self._has_alpha = self.bands < page.samplesperpixel
        self.dtype = page.dtype.newbyteorder("=")
        self.nodata = nodata_of(page)
        height = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.size[0])
        width = page.tilewidth if page.is_tiled else self.size[1]
        self.segment_bytes = height * width * self.dtype.itemsize * (self.bands if page.planarconfig == 1 else 1)
        self._kept: OrderedDict[int, Array] = OrderedDict()
        self.tags: dict[int, Any] = {tag.code: tag.value for tag in page.tags}

    def read(self, window: Window) -> Array:
        """Decode what lies under the window."""
        return self._samples(window)[..., : self.bands]

    def alpha(self, window: Window) -> NDArray[np.bool_] | None:
        """Decode the last band."""
        return self._samples(window)[..., -1] > 0 if self._has_alpha else None

    def all(self) -> tuple[Array, NDArray[np.bool_] | None]:
        """The whole image ``(H, W, bands)`` in memory, on the disk where it is not compressed; and its mask.

        Raises:
            Refused: it is too large for the memory.
        """
        import tifffile

        if self._page.is_memmappable and not self._has_alpha and self._page.planarconfig == 1:
            return tifffile.memmap(self._file.filehandle.path, page=0, mode="r"), None
        check_pixels(*self.size[::-1])
        whole = Window(0, self.size[0], 0, self.size[1])
        image, mask = self.read(whole), self.alpha(whole)
        self._kept.clear()
        return image, mask

    def _samples(self, window: Window) -> Array:
        page = self._page
        deep = page.planarconfig == 2 and page.samplesperpixel > 1
        out = np.zeros((*window.shape, page.samplesperpixel), self.dtype)
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, self.size[1])
        across, down = -(-self.size[1] // width), -(-self.size[0] // height)
        planes = range(page.samplesperpixel if deep else 1)
        rows = range(window.top // height, -(-window.bottom // height))
        columns = range(window.left // width, -(-window.right // width))
        for plane, row, column in product(planes, rows, columns):
            index = (plane * down + row) * across + column
            segment = self._segment(index)
            if segment is None:
                continue  # a sparse file: zeros
            top, left = row * height, column * width
            y0, y1 = max(top, window.top), min(top + segment.shape[0], window.bottom)
            x0, x1 = max(left, window.left), min(left + segment.shape[1], window.right)
            part = segment[y0 - top : y1 - top, x0 - left : x1 - left]
            place = (slice(y0 - window.top, y1 - window.top), slice(x0 - window.left, x1 - window.left))
            if deep:
                out[(*place, plane)] = part[..., 0]
            else:
                out[place] = part
        return out

    def _segment(self, index: int) -> Array | None:
        """A decoded tile or strip ``(h, w, samples)``; the last ones are kept, as neighbouring windows share them."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        page, count = self._page, self._page.databytecounts[index]
        if not count:
            return None
        try:
            self._file.filehandle.seek(page.dataoffsets[index])
            decoded = page.decode(self._file.filehandle.read(count), index)[0]
            if decoded is None:
                return None
            segment: Array = decoded.reshape(decoded.shape[-3:])
        except MemoryError:
            raise
        except Exception as error:  # tifffile has no common class for what can be wrong with a file
            raise DataError(f"{self._path} is damaged: tile or strip {index} cannot be decoded") from error
        self._kept[index] = segment
        while len(self._kept) > 1 and len(self._kept) * segment.nbytes > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return segment


def strips(window: Window, multiple: int = 1) -> Iterator[Window]:
    """A window cut into strips of a few million pixels, each a multiple of so many rows high but the last."""
    rows = max(1, _STRIP_PIXELS // max(1, window.right - window.left) // multiple) * multiple
    for top in range(window.top, window.bottom, rows):
        yield Window(top, min(top + rows, window.bottom), window.left, window.right)


def valid(pixels: Pixels, stored: Array, window: Window) -> NDArray[np.bool_] | None:
    """Which of the pixels read from a window hold data, ``(h, w)``; None where all do."""
    mask = pixels.alpha(window)
    if stored.dtype.kind == "f":
        finite = np.asarray(np.isfinite(stored).all(axis=-1))
        mask = finite if mask is None else np.asarray(mask & finite)
    if pixels.nodata is not None and np.isfinite(pixels.nodata):
        near = stored.dtype.type(pixels.nodata) if stored.dtype.kind == "f" else pixels.nodata
        seen = np.asarray((stored != near).any(axis=-1))
        mask = seen if mask is None else np.asarray(mask & seen)
    return None if mask is None or mask.all() else mask
