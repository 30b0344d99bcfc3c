"""What readers of image folders share: decoding files, matching partners, errors that name the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regbench.api.dataset import Card, Split
from regbench.data.source_files import note_read
from regbench.errors import DataError

Image = NDArray[np.generic]
"""``(H, W)`` grey or ``(H, W, 3)`` RGB, uint8 or uint16."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm"})


def read_image(path: Path, size: tuple[int, int] | None = None) -> Image:
    """Decode one image; an alpha channel is dropped, the EXIF orientation applied.

    Args:
        path: the file.
        size: the (height, width) it must have, where the published layout fixes it.

    Returns:
        ``(H, W)`` or ``(H, W, 3)`` RGB, uint8 or uint16 as stored.

    Raises:
        DataError: the file is missing, truncated, no image or of another size; names it.
    """
    import cv2

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    note_read(path, data)
    # Some builds of OpenCV fill the rest of a truncated JPEG with grey and call it a success.
    cut = data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9", len(data) // 2) < 0
    image: Any = None
    if data and not cut:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
        except cv2.error:
            image = None
    if image is None:
        raise DataError(f"{path} ({len(data)} bytes) is truncated or not an image")
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} holds {image.dtype} pixels; store it with 8 or 16 bits per channel")
    if size is not None and image.shape[:2] != size:
        raise DataError(f"{path} is {image.shape[1]}x{image.shape[0]}, expected {size[1]}x{size[0]}")
    return np.asarray(image[..., ::-1] if image.ndim == 3 else image)


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


def images_in(folder: Path) -> dict[str, Path]:
    """The image files of a folder by stem, sorted; raises DataError when two files share a stem."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in files:
                raise DataError(f"{files[path.stem]} and {path.name} share a stem; keep one of them")
            files[path.stem] = path
    return files


def matched(a: dict[str, Path], b: dict[str, Path]) -> list[str]:
    """The stems of two folders in natural order; raises DataError naming a file without a partner of its stem."""
    for have, lack in ((a, b), (b, a)):
        if alone := sorted(set(have) - set(lack)):
            where = next(iter(lack.values())).parent if lack else "the other folder, which has no images"
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise DataError(f"{have[alone[0]]}{more} has no partner named {alone[0]}.* in {where}")
    return sorted(a, key=natural)


def hashed_split(group: str, test_fraction: float) -> Split:
    """The split of a group of pairs that is published without one.

    It follows from a hash of the group's own name: adding groups moves no other group.
    """
    part = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64
    return "test" if part < test_fraction else "train"


def natural(text: str) -> tuple[int, str]:
    """Sort key: ``2`` before ``10``, numbers before words."""
    return (int(text), text) if text.isdecimal() else (1 << 62, text)


def layout_error(card: Card, root: Path, problem: str) -> DataError:
    """The error for a folder that does not look as its card draws it; lists what is there and what was expected."""
    return DataError(f"{card.title}: {problem}. Found in {root}: {_listing(root)}. Expected:\n{card.layout}")


def _listing(folder: Path, most: int = 8) -> str:
    if not folder.is_dir():
        return "no such folder"
    names: Iterable[str] = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    names = list(names)
    return (", ".join(names[:most]) + ", …" * (len(names) > most)) or "nothing"
