"""Registering two image files of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench.api.registrator import Registrator
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.runs.build import registrator_alone
from regbench.runs.finished import open_run
from regbench.runs.request import configure, device_of

Matrix = NDArray[np.float64]


def registrator_for(
    finished: Path | None, name: str | None, device: str
) -> Callable[[Tensor, Tensor], tuple[Matrix, bool]]:
    """A function from source and target ``(1, 3, H, W)`` to the homography ``(3, 3)`` float64 and whether there is one.

    The homography maps source pixels to target pixels; it is the identity where the registrator found none.

    Args:
        finished: directory of a finished run, whose registrator is used;
        name: or the registered name of a registrator that needs no training.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        UsageError: not exactly one of run and name is given, or the registrator has to be trained.
        DataError: the run is not finished or broken.
    """
    if (finished is None) == (name is None):
        raise UsageError("name either --run DIR or --registrator NAME")
    where = device_of(device)
    network: Registrator
    if finished is not None:
        network = open_run(finished, where).registrator
    else:
        assert name is not None
        registrator = configure("registrator", name)
        network = registrator_alone(registrator, device=where, untrained="use --run DIR of a finished run").eval()

    def register(source: Tensor, target: Tensor) -> tuple[Matrix, bool]:
        with torch.inference_mode():
            registration = network.register(source.to(where), target.to(where))
        assert registration.ok is not None
        ok = bool(registration.ok[0])
        return (registration.homography[0].cpu().numpy() if ok else np.eye(3)), ok

    return register


def load_image(path: Path) -> Tensor:
    """An image file as ``(1, 3, H, W)`` float32 RGB in [0, 1]; 16-bit files are divided by their maximum.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise DataError(f"{path}: not a readable image; it may be truncated")
    top = 255.0 if image.dtype == np.uint8 else max(float(image.max()), 1.0)
    rgb = np.ascontiguousarray(image[..., ::-1]).astype(np.float32) / top
    return torch.from_numpy(rgb).permute(2, 0, 1).unsqueeze(0).contiguous()


def overlay_of(source: Tensor, target: Tensor, homography: Matrix, path: Path) -> None:
    """Write a checkerboard of the target and the warped source as PNG.

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
    if not cv2.imwrite(str(path), (np.where(tiles, fixed, warped) * 255).round().astype(np.uint8)):
        raise RegbenchError(f"{path}: cannot be written; name a writable .png")
