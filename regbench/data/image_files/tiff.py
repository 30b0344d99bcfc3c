"""TIFF files, as cameras, microscopes and remote sensing write them.

tifffile says what a file holds and decodes what is stored plainly or by general compression. Compressions of images
(LZW, JPEG, fax) it leaves to a package of its own, imagecodecs; without that, OpenCV decodes those kinds on which it
can be relied. OpenCV alone does not do: it turns a white-is-zero image of 8 bits but not of 16, mixes up planes of 16
bits, and multiplies 8-bit colours by their alpha.
"""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regbench.data.image_files.orientation import ORIENTATION, oriented
from regbench.data.image_files.refused import Refused, check_pixels, damaged
from regbench.data.image_files.with_opencv import decode_with_opencv

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
_PLAIN = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
_ALPHA = _ASSOCIATED, _UNASSOCIATED = (1, 2)
_EXTRA_SAMPLES = 338
NODATA = 42113
"""GDAL's tag for the value that means no data."""
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF or a BigTIFF."""
    return data[:4] in _SIGNATURES


def decode_tiff(data: bytes) -> NDArray[Any]:
    """Decode the first page of a TIFF to ``(H, W)`` or ``(H, W, bands)``, black at zero, without alpha, turned.

    Pixels keep their type and values; 1 to 7 bits are scaled to 8. What GDAL calls no data is NaN, where pixels are no
    plain 8 or 16 bits.

    Raises:
        Refused: the file is truncated or damaged, or its pixels are of a kind that cannot be read; says which.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            page: Any = file.pages[0]
            _check(page, len(data))
            return _decoded(page, data)
    except (Refused, MemoryError):
        raise
    except Exception:  # tifffile has no common class for what can be wrong with a file
        raise damaged(len(data)) from None


def _check(page: Any, size: int) -> None:
    """Raise Refused where the page cannot be right whatever decodes it."""
    check_whole(page, size)
    check_pixels(page.imagewidth, page.imagelength)
    if page.imagedepth > 1:
        raise Refused(f"holds a volume of {page.imagedepth} slices, not one image")
    if page.photometric not in (*_PLAIN, PALETTE, CMYK, YCBCR):
        raise Refused(f"holds {_name(page.photometric)} pixels; store it as grey or RGB")
    if page.dtype is None:
        raise Refused(f"holds pixels of {page.bitspersample} bits of an unknown kind; store it with 8 or 16 bits")
    if page.dtype.kind not in "buif":
        raise Refused(f"holds {page.dtype} pixels; store it with 8 or 16 bits, or as float32")
    bands = bands_of(page)
    wanted = {PALETTE: (1,), CMYK: (4,), YCBCR: (3,)}.get(page.photometric, (1, 3))
    if bands not in wanted:
        raise Refused(f"has {bands} bands; one (grey) or three (RGB) can be read: store those you want in a file")


def check_whole(page: Any, size: int) -> None:
    """Raise Refused where strips or tiles of a page lie beyond the end of its file of ``size`` bytes."""
    if any(offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise damaged(size)


def bands_of(page: Any) -> int:
    """Bands without alpha. OpenCV writes a fourth band without saying that it is alpha; libtiff takes it for that."""
    bands, extra = page.samplesperpixel, tuple(page.extrasamples)
    if extra and extra[-1] in _ALPHA:
        return bands - 1
    return 3 if bands == 4 and page.photometric == RGB and not extra else bands


def _decoded(page: Any, data: bytes) -> NDArray[Any]:
    if page.photometric == YCBCR or not by_tifffile(page):
        return _by_opencv(page, data)
    stored = np.asarray(page.asarray())
    if stored.ndim == 3 and page.planarconfig == 2:
        stored = np.moveaxis(stored, 0, -1)
    stored = stored if stored.ndim == 2 else stored[..., : bands_of(page)]
    if page.photometric == PALETTE:
        stored = _coloured(stored, np.asarray(page.colormap))
    elif page.dtype.kind in "bu":
        top = 2 ** min(page.bitspersample, 64) - 1
        if page.photometric in (WHITE_IS_ZERO, CMYK):
            stored = (top - stored.astype(np.uint64)).astype(stored.dtype if stored.dtype.kind == "u" else np.uint8)
        if page.photometric == CMYK:
            stored = (stored[..., :3].astype(np.float64) * stored[..., 3:] / top).round().astype(stored.dtype)
        if top < 255:
            stored = (stored * (255.0 / top)).round().astype(np.uint8)
    elif page.photometric in (WHITE_IS_ZERO, CMYK):
        raise Refused(f"holds {page.dtype} pixels whose zero is white; store it with black at zero")
    return oriented(_without_nodata(page, stored), _tag(page, ORIENTATION))


def by_tifffile(page: Any) -> bool:
    """Whether tifffile decodes a page's compression and predictor here."""
    import tifffile

    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        return False
    return True


def _by_opencv(page: Any, data: bytes) -> NDArray[Any]:
    """Decode a page whose compression tifffile leaves to others; raises Refused for kinds OpenCV gets wrong."""
    deep = page.bitspersample > 8
    separate = page.samplesperpixel > 1 and page.planarconfig == 2
    odd_bits = page.bitspersample not in (1, 8, 16, 32, 64)
    odd_alpha = page.samplesperpixel != bands_of(page) and (page.dtype.kind == "f" or (deep and bands_of(page) == 1))
    if separate or odd_bits or odd_alpha or (deep and page.photometric > RGB):
        raise Refused(
            f"holds {_kind(page)} pixels compressed by {_name(page.compression)}, which need the package imagecodecs: "
            "pip install imagecodecs, or store it uncompressed"
        )
    if _UNASSOCIATED in page.extrasamples and not deep:
        # Said to be multiplied already, so that it is not done.
        tag = page.tags[_EXTRA_SAMPLES]
        size = 2 * tag.count
        said = np.ones(tag.count, np.dtype(np.uint16).newbyteorder(page.parent.byteorder)).tobytes()
        data = data[: tag.valueoffset] + said + data[tag.valueoffset + size :]
    image = decode_with_opencv(data)
    if deep and page.photometric == WHITE_IS_ZERO:
        if image.dtype.kind != "u":
            raise Refused(f"holds {page.dtype} pixels whose zero is white; store it with black at zero")
        image = np.iinfo(image.dtype).max - image
    return _without_nodata(page, image)


def _coloured(stored: NDArray[Any], colours: NDArray[Any]) -> NDArray[Any]:
    """RGB uint8 of places ``(H, W)`` in a table ``(3, N)`` of 16 bits, or of 8 where all fit into these."""
    table = colours.T >> 8 if colours.max() > 255 else colours.T
    return np.asarray(table.astype(np.uint8)[stored])


def _without_nodata(page: Any, image: NDArray[Any]) -> NDArray[Any]:
    """The image with NaN in place of GDAL's no-data value; 8 and 16 bits without a sign stay as they are."""
    nodata = nodata_of(page)
    if nodata is None or image.dtype in (np.uint8, np.uint16) or image.dtype.kind == "b":
        return image
    pixels = image.astype(np.float64)
    near = image == image.dtype.type(nodata) if image.dtype.kind == "f" else pixels == nodata
    pixels[near] = np.nan
    return pixels


def nodata_of(page: Any) -> float | None:
    """GDAL's no-data value; None where a page has none."""
    try:
        return float(str(_tag(page, NODATA)).strip("\0 "))
    except ValueError:
        return None


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _kind(page: Any) -> str:
    layout = "planes of " if page.planarconfig == 2 and page.samplesperpixel > 1 else ""
    return f"{layout}{page.bitspersample}-bit {_name(page.photometric)}"


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
