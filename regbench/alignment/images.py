"""A user's own image, whatever it is: opened once, looked at in reduced size or by windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regbench.alignment import rasters
from regbench.alignment.georeference import Georeference, georeference_of
from regbench.alignment.windows import LARGE_SEGMENT, ArrayPixels, Pixels, TiffPixels, Window, strips, valid
from regbench.data.image_files.png import SIGNATURE as PNG
from regbench.data.image_files.refused import Refused
from regbench.data.image_files.tiff import is_tiff
from regbench.data.reading import errors_of, read_head, read_image, read_image_and_mask
from regbench.data.value_ranges import LITTLE, ROBUST, ValueRange, percentiles, range_of
from regbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    Given = str | Path | NDArray[Any] | Tensor

Floats = NDArray[np.float32]
LEAST_SIDE = 16
"""Shorter sides, in pixels, hold nothing that could be found again."""
_SAMPLED = 2**22
"""Pixels looked at to find the range of an image."""


class View(NamedTuple):
    """An image, or a window of it, as methods get it."""

    pixels: Floats
    """``(h, w, 3)`` RGB in [0, 1]; where there is no data, what surrounds it."""
    valid: NDArray[np.bool_] | None
    """``(h, w)``, False where there is no data; None where all is data."""
    to_whole: NDArray[np.float64]
    """``(3, 3)``, pixels of the view to pixels of the image."""


@dataclass(frozen=True)
class OwnImage:
    """A user's own image.

    Attributes:
        name: of the file, or what it is.
        pixels: what is stored.
        chosen: places of the bands that methods see, one (grey) or three (RGB), from 0.
        values: the stored values that methods see as 0 and 1.
        how: how these were found, in words.
        used: share of that range between the 0.5th and the 99.5th percentile of the pixels.
        georeference: where it lies on a map; None where that is not known.
        notes: what was decided for the user, a sentence each.
    """

    name: str
    pixels: Pixels
    chosen: tuple[int, ...]
    values: ValueRange
    how: str
    used: float
    georeference: Georeference | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.size

    @property
    def little_used(self) -> bool:
        """Whether the image has hardly any contrast in its range."""
        return self.used < LITTLE

    @cached_property
    def whole(self) -> Window:
        """The window of all of it."""
        return Window(0, self.size[0], 0, self.size[1])

    def with_range(self, record: str | None) -> OwnImage:
        """The same image by another rule or record of values, see :func:`regbench.data.value_ranges.range_of`."""
        values, how, used = _values(self.name, self.pixels, self.chosen, record)
        return replace(self, values=values, how=how, used=used)

    def view(self, factor: float, window: Window | None = None) -> View:
        """The image, or a window of it, reduced in size.

        Args:
            factor: at least 1; pixels of the image along a pixel of the view. Areas are averaged.
            window: of the image; all of it by default. What lies outside of the image is cut off.
        """
        import cv2

        whole = self.whole if window is None else _within(window, self.size)
        blocks = max(1, int(factor + 1e-9))
        h, w = (max(1, n // blocks) for n in whole.shape)
        blocks = min(blocks, *whole.shape)
        cut = Window(whole.top, whole.top + h * blocks, whole.left, whole.left + w * blocks)
        pixels, mask = self._reduced(cut, blocks)
        to_whole = np.array(
            [[blocks, 0, (blocks - 1) / 2 + cut.left], [0, blocks, (blocks - 1) / 2 + cut.top], [0, 0, 1.0]]
        )
        rest = factor / blocks
        if rest > 1.001:
            size = tuple(max(1, round(n / rest)) for n in (h, w))
            pixels = np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.float32)
            if mask is not None:
                mask = cv2.resize(mask.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST) > 0
            sx, sy = w / size[1], h / size[0]
            to_whole = to_whole @ np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1.0]])
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        return View(rgb, mask, to_whole)

    def _reduced(self, window: Window, blocks: int) -> tuple[Floats, NDArray[np.bool_] | None]:
        """A window whose sides are multiples of ``blocks`` as unit values, areas averaged; strip by strip."""
        import cv2

        parts: list[Floats] = []
        masks: list[NDArray[np.bool_]] = []
        for strip in strips(window, blocks):
            stored = self.pixels.read(strip)
            mask = valid(self.pixels, stored, strip)
            size = (strip.shape[1] // blocks, strip.shape[0] // blocks)
            chosen = self.chosen if len(self.chosen) == 3 else self.chosen[0]
            seen = stored if self.chosen == (0, 1, 2) and stored.shape[2] == 3 else stored[..., chosen]
            if mask is None:
                small = _areas(seen, size, blocks)
                masks.append(np.ones(size[::-1], bool))
            else:
                share = np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))
                data = np.where(mask[..., None] if seen.ndim == 3 else mask, seen, 0).astype(np.float32)
                weight = np.maximum(share, 1e-6)
                total = _areas(data, size, blocks)
                small = total / (weight[..., None] if total.ndim == 3 else weight)
                masks.append(share > 0.5)
            parts.append(self.values.to_unit(small))
        pixels, mask = np.concatenate(parts), np.concatenate(masks)
        return (pixels, None) if mask.all() else (_filled(pixels, mask), mask)


def open_image(
    given: Given,
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    values: str | None = None,
    side: str = "image",
) -> OwnImage:
    """Open an image.

    Args:
        given: a file, an array ``(H, W)`` or ``(H, W, C)`` of any real type, or a tensor ``(H, W)`` or ``(C, H, W)``
            in [0, 1].
        bands: numbers from 1 of the bands that methods see, one or three; by default the first three, or the first of
            one or two.
        nodata: stored value that means no data; by default what the file says. NaN and transparent pixels always do.
        values: rule or record of the stored values that are black and white, see
            :func:`regbench.data.value_ranges.range_of`.
        side: what to call an image without a name.

    Raises:
        DataError: the file is missing, damaged or of a kind that cannot be read, or the image is smaller than
            ``LEAST_SIDE`` or without any data.
        UsageError: there are no such bands, or the array is no image.
    """
    if isinstance(given, str | Path):
        name, (pixels, georeference) = str(given), _open_file(Path(given).expanduser())
    else:
        name, georeference = side, None
        pixels, unit = _from_memory(given, side)
        values = values or ("0..1" if unit else None)
    if min(pixels.size) < LEAST_SIDE:
        raise DataError(f"{name} is {pixels.size[1]}x{pixels.size[0]} px; at least {LEAST_SIDE} px each way are needed")
    if nodata is not None:
        pixels.nodata = nodata
    chosen, notes = _choose(pixels.bands, bands, name)
    found, how, used = _values(name, pixels, chosen, values)
    return OwnImage(name, pixels, chosen, found, how, used, georeference, notes)


def _open_file(path: Path) -> tuple[Pixels, Georeference | None]:
    head = read_head(path, 32)
    georeference = None
    with errors_of(path):  # what is refused here is refused by all
        if is_tiff(head):
            try:
                tiff = TiffPixels(path)
                georeference = georeference_of(tiff.tags)
                if tiff.segment_bytes > LARGE_SEGMENT:
                    return ArrayPixels(*tiff.all(), tiff.nodata), georeference
                tiff.read(Window(0, 1, 0, 1))
                return tiff, georeference
            except Refused:
                raise
            except Exception:  # of another kind, or damaged, which the others say
                pass
        if rasters.installed() and (is_tiff(head) or not _common(head)):
            try:
                raster = rasters.RasterPixels(path)
                return raster, raster.georeference()
            except Refused:
                raise
            except Exception:  # no raster either, which the one decoder says
                pass
    if is_tiff(head):
        return ArrayPixels(read_image(path)), georeference
    return ArrayPixels(*read_image_and_mask(path)), None


def _common(head: bytes) -> bool:
    """Whether a file is of a kind that needs no GDAL."""
    return head.startswith((PNG, b"\xff\xd8", b"BM", b"RIFF", b"P5", b"P6"))


def _from_memory(given: Any, side: str) -> tuple[ArrayPixels, bool]:
    """Pixels of an array or tensor, and whether they are in [0, 1] by agreement."""
    unit = not isinstance(given, np.ndarray) and hasattr(given, "detach")
    array = np.asarray(given.detach().cpu().float().numpy() if unit else given)
    if unit and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or 0 in array.shape:
        wanted = "a tensor (C, H, W)" if unit else "an array (H, W) or (H, W, C)"
        raise UsageError(f"{side} has the shape {tuple(array.shape)}; give {wanted} of one image")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "uif":
        raise UsageError(f"{side} holds {array.dtype}; give 8 or 16 bits, or floats")
    if unit and array.shape[-1] > 4 and array.ndim == 3 and array.shape[0] <= 4:
        raise UsageError(f"{side} has the shape {tuple(given.shape)}; a tensor is (C, H, W)")
    if array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (2, 4):  # grey or RGB, and alpha
        return ArrayPixels(array[..., :-1], array[..., -1] > 0), False
    return ArrayPixels(array), unit


def _choose(count: int, bands: Sequence[int] | None, name: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Places of the bands that methods see, and what to say of them."""
    if bands is not None:
        if len(bands) not in (1, 3):
            raise UsageError(f"{name}: name one band (grey) or three (red, green, blue), not {len(bands)}")
        if wrong := [band for band in bands if not 1 <= band <= count]:
            raise UsageError(f"{name} has {count} bands, numbered from 1; there is no band {wrong[0]}")
        return tuple(band - 1 for band in bands), ()
    if count in (1, 3):
        return tuple(range(count)), ()
    used = (0,) if count == 2 else (0, 1, 2)
    words = "band 1" if count == 2 else "bands 1,2,3"
    return used, (f"{name} has {count} bands; {words} are used: choose others by bands (--bands)",)


def _values(name: str, pixels: Pixels, chosen: tuple[int, ...], record: str | None) -> tuple[ValueRange, str, float]:
    """The range of an image, how it was found, and how much of it the image uses."""
    seen = _sample(pixels, chosen)
    if not np.isfinite(seen).any():
        raise DataError(f"{name} holds no data: every pixel is transparent, NaN or of the value that means no data")
    values, how = range_of(seen, record)
    middle = percentiles([seen], ROBUST)
    used = 0.0 if middle is None else float(np.ptp(np.clip(middle, *values))) / (values.high - values.low)
    return values, how, used


def _sample(pixels: Pixels, chosen: tuple[int, ...]) -> NDArray[Any]:
    """Pixels of an image with data, evenly spread, at most a few million; all of a smaller one."""
    step = max(1, int(np.ceil(np.sqrt(pixels.size[0] * pixels.size[1] / _SAMPLED))))
    parts = []
    for strip in strips(Window(0, pixels.size[0], 0, pixels.size[1]), step):
        stored = pixels.read(strip)
        mask = valid(pixels, stored, strip)
        seen = stored[::step, ::step, list(chosen)]
        parts.append(seen.reshape(-1, len(chosen)) if mask is None else seen[mask[::step, ::step]])
    found = np.concatenate(parts)
    return found if found.dtype in (np.uint8, np.uint16) else found.astype(np.float32)


def _areas(image: NDArray[Any], size: tuple[int, int], blocks: int) -> NDArray[Any]:
    import cv2

    if image.dtype not in (np.uint8, np.uint16, np.float32):
        image = image.astype(np.float32)
    if blocks == 1:
        return image
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA))


def _filled(pixels: Floats, mask: NDArray[np.bool_]) -> Floats:
    """The image with what has no data replaced by a blur of its surroundings, so that no edge appears there."""
    import cv2

    if not mask.any():
        return np.zeros_like(pixels)
    seen = mask.astype(np.float32)
    image = np.where(mask[..., None] if pixels.ndim == 3 else mask, pixels, 0).astype(np.float32)
    mean = image.reshape(-1, *pixels.shape[2:]).sum(0) / seen.sum()
    share = cv2.blur(seen, (31, 31))[..., None] + 1e-3
    blurred = np.atleast_3d(cv2.blur(image, (31, 31)))
    around = ((blurred + 1e-3 * mean) / share).reshape(pixels.shape)
    return np.where(mask[..., None] if pixels.ndim == 3 else mask, pixels, around).astype(np.float32)


def _within(window: Window, size: tuple[int, int]) -> Window:
    top, left = min(max(window.top, 0), size[0] - 1), min(max(window.left, 0), size[1] - 1)
    return Window(top, max(top + 1, min(window.bottom, size[0])), left, max(left + 1, min(window.right, size[1])))
