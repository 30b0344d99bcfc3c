"""Registering two image files of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench import geometry
from regbench.api.registrator import Registrator
from regbench.data.reading import read_image, resize
from regbench.data.value_ranges import LITTLE, ROBUST, ValueRange, percentiles, range_of
from regbench.errors import RegbenchError, UsageError
from regbench.runs.build import registrator_alone
from regbench.runs.finished import open_run
from regbench.runs.request import configure, device_of

Matrix = NDArray[np.float64]
OVERLAY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True)
class Method:
    """What estimates a homography, and what it knows of value ranges."""

    name: str
    register: Callable[[Tensor, Tensor], tuple[Matrix, bool]]
    """From source and target ``(1, 3, H, W)`` float32 in [0, 1], of any sizes, to the homography ``(3, 3)`` float64
    (the identity where none was found) and whether it was found."""
    ranges: tuple[str | None, str | None] = (None, None)
    """What the run recorded of source and target, see :func:`regbench.data.value_ranges.recorded`."""


@dataclass(frozen=True)
class OwnImage:
    """An image file as methods get it.

    Attributes:
        pixels: ``(1, 3, H, W)`` float32 RGB in [0, 1].
        values: the stored values that became 0 and 1.
        how: how these were found, in words.
        used: share of that range between the 0.5th and the 99.5th percentile of the pixels.
    """

    pixels: Tensor
    values: ValueRange
    how: str
    used: float

    @property
    def little_used(self) -> bool:
        """Whether the image has hardly any contrast in its range."""
        return self.used < LITTLE


def method_for(finished: Path | None, name: str | None, device: str) -> Method:
    """The registrator of a finished run, or one that needs no training.

    Raises:
        UsageError: not exactly one of run and name is given, or the registrator has to be trained.
        DataError: the run is not finished or broken.
    """
    if (finished is None) == (name is None):
        raise UsageError("name either --run DIR or --registrator NAME")
    where = device_of(device)
    network: Registrator
    ranges: tuple[str | None, str | None] = (None, None)
    if finished is not None:
        run = open_run(finished, where)
        network, ranges, name = run.registrator, run.ranges, run.result.identity.registrator.name
    else:
        assert name is not None
        registrator = configure("registrator", name)
        network = registrator_alone(registrator, device=where, untrained="use --run DIR of a finished run").eval()

    def register(source: Tensor, target: Tensor) -> tuple[Matrix, bool]:
        sizes = " and ".join(f"{x.shape[-1]}x{x.shape[-2]}" for x in (source, target))
        try:
            with torch.inference_mode():
                registration = network.register(source.to(where), target.to(where))
        except (MemoryError, RuntimeError, cv2.error) as error:
            if not _of_memory(error):
                raise
            raise RegbenchError(
                f"{name}: images of {sizes} px take more memory than there is; give a smaller --max-side"
            ) from error
        assert registration.ok is not None
        ok = bool(registration.ok[0])
        return (registration.homography[0].cpu().numpy() if ok else np.eye(3)), ok

    assert name is not None
    return Method(name, register, ranges)


def load_image(path: Path, record: str | None = None) -> OwnImage:
    """An image file as methods get it.

    Args:
        path: the file; what can be opened stands in ``docs/pixels.md``.
        record: what the run in use recorded of this side, or a rule of the user (``LOW..HIGH``, ``image:P``); see
            :func:`regbench.data.value_ranges.range_of` for what holds without one.

    Raises:
        DataError: the file is missing, truncated or no image, its kind of pixels cannot be read, or ``record`` is no
            rule.
    """
    image = read_image(path)
    values, how = range_of(image, record)
    seen = percentiles([image], ROBUST)
    used = 0.0 if seen is None else float(np.ptp(np.clip(seen, *values))) / (values.high - values.low)
    unit = values.to_unit(image)
    rgb = unit if unit.ndim == 3 else np.repeat(unit[..., None], 3, axis=2)
    return OwnImage(torch.from_numpy(rgb).permute(2, 0, 1).unsqueeze(0).contiguous(), values, how, used)


def register_within(method: Method, source: Tensor, target: Tensor, max_side: int) -> tuple[Matrix, bool]:
    """Estimate the homography between two images, shrunk to at most ``max_side`` px a side, in pixels of the originals.

    Args:
        method: what estimates.
        source: ``(1, 3, H, W)``.
        target: ``(1, 3, H', W')``.
        max_side: longest side of the images that the method gets, px.

    Returns:
        The homography ``(3, 3)`` float64, the identity where none was found, and whether it was found.
    """
    small = [_within(x, max_side) for x in (source, target)]
    homography, ok = method.register(*small)
    if not ok:
        return np.eye(3), False
    (before, after), (old, new) = ([(x.shape[-2], x.shape[-1]) for x in pair] for pair in (small, (source, target)))
    full = geometry.rescale(torch.from_numpy(homography)[None], (before, old), (after, new))
    if not geometry.is_usable(geometry.displacement_from_homography(full, old), old):
        return np.eye(3), False
    return full[0].numpy(), True


def _within(image: Tensor, side: int) -> Tensor:
    h, w = image.shape[-2:]
    if max(h, w) <= side:
        return image
    size = tuple(max(1, round(n * side / max(h, w))) for n in (h, w))
    small = resize(image[0].permute(1, 2, 0).numpy(), (size[0], size[1]))
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1).unsqueeze(0).contiguous()


def _of_memory(error: BaseException) -> bool:
    """Whether torch, NumPy or OpenCV could not get memory."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in said for sign in ("alloc_cpu", "DefaultCPUAllocator", "out of memory", "nsufficient memory")
    )


def check_overlay(path: Path) -> None:
    """Raise UsageError where an overlay could not be written, before any work is done for it."""
    if path.suffix.lower() not in OVERLAY_SUFFIXES:
        raise UsageError(f"{path}: an overlay is written as {', '.join(OVERLAY_SUFFIXES)}; name such a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first")


def overlay_of(source: Tensor, target: Tensor, homography: Matrix, path: Path) -> None:
    """Write a checkerboard of the target and the warped source, in the contrast that the method saw.

    Args:
        source: ``(1, 3, H, W)`` in [0, 1].
        target: ``(1, 3, H', W')`` in [0, 1].
        homography: source pixels to target pixels.
        path: the file.

    Raises:
        RegbenchError: the file cannot be written.
    """
    fixed, moving = (np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()[..., ::-1]) for x in (target, source))
    h, w = fixed.shape[:2]
    warped = cv2.warpPerspective(moving, homography, (w, h))
    side = max(8, min(h, w) // 8)
    y, x = np.mgrid[:h, :w]
    tiles = ((x // side + y // side) % 2 == 0)[..., None]
    try:
        written = cv2.imwrite(str(path), (np.where(tiles, fixed, warped) * 255).round().astype(np.uint8))
    except cv2.error:
        written = False
    if not written:
        raise RegbenchError(f"{path}: cannot be written; name a writable .png")
