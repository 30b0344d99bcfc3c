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
from regbench.api.types import PairInfo
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.runs.context import RunContext
from regbench.runs.finished import open_run
from regbench.runs.plan import choose, device_of

Matrix = NDArray[np.float64]


def registrator_for(
    finished: Path | None, name: str | None, device: str
) -> Callable[[Tensor, Tensor], tuple[Matrix, bool]]:
    """A function from two images ``(1, 3, H, W)`` to the homography ``(3, 3)`` float64 and whether it was found.

    Raises:
        UsageError: not exactly one of run and name is given, or the registrator has to be trained.
    """
    if (finished is None) == (name is None):
        raise UsageError("name either --run DIR or --registrator NAME")
    where = device_of(device)
    network: Registrator
    if finished is not None:
        network = open_run(finished, where).registrator
    else:
        chosen = choose("registrator", name, {}, None)
        assert chosen is not None
        if "train" in chosen.component.provides:
            raise UsageError(f"{name} has to be trained: use --run DIR of a finished run")
        network = RunContext(PairInfo(), where, {"registrator": chosen}, seed=0).registrator().eval()

    def register(source: Tensor, target: Tensor) -> tuple[Matrix, bool]:
        with torch.inference_mode():
            found = network.register(source.to(where), target.to(where))
        assert found.ok is not None
        ok = bool(found.ok[0])
        return (found.homography[0].cpu().numpy() if ok else np.eye(3)), ok

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
    """Write a checkerboard of the target and the warped source, as PNG; raises RegbenchError when it cannot."""
    to, moving = (np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()[..., ::-1]) for x in (target, source))
    h, w = to.shape[:2]
    warped = cv2.warpPerspective(moving, homography, (w, h))
    side = max(8, min(h, w) // 8)
    y, x = np.mgrid[:h, :w]
    board = ((x // side + y // side) % 2 == 0)[..., None]
    if not cv2.imwrite(str(path), (np.where(board, to, warped) * 255).round().astype(np.uint8)):
        raise RegbenchError(f"{path}: cannot be written; name a writable .png")
