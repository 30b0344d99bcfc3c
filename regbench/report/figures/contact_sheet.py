"""A contact sheet of a pack: its pairs, how well they are aligned, and an example of what a network gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regbench import geometry
from regbench.api.dataset import Split
from regbench.data.images import Streamed
from regbench.data.packs.pack import Pack
from regbench.data.pairs import to_float
from regbench.data.photometric import draw_distortion
from regbench.report.figures.files import save_figure
from regbench.seeds import seed_of

Picture = NDArray[np.uint8]
"""``(H, W, 3)`` RGB."""

GREEN = (0, 230, 0)
WHITE = (255, 255, 255)


def contact_sheet(pack: Pack, path: Path, count: int = 6) -> None:
    """Write a picture with one row for each pair.

    Columns: A; B; a checkerboard of both, in which lines must continue across the seams; A with the edges of B; a
    patch of A warped as in training; B with the target window in white and the true place of that patch in green.
    Packs of really unaligned pairs show A warped onto B by the pair's label, if there is one.

    Args:
        pack: the pack, of which the test split is shown, or the training split when there is no test split.
        path: picture to write, PDF, PNG or SVG.
        count: largest number of rows, spread evenly over the split.
    """
    split: Split = "test" if pack.counts["test"] else "train"
    rows = np.unique(np.linspace(0, pack.counts[split] - 1, max(1, count)).round().astype(int))
    a, b = (_pictures(pack, split, side, rows) for side in ("a", "b"))
    keys, labels = pack.keys(split), pack.homographies(split)
    titles = [
        f"A: {pack.modalities[0]}",
        f"B: {pack.modalities[1]}",
        "checkerboard",
        "A, edges of B",
        "patch of A, warped" if pack.aligned else "A laid on B",
        "its true place in B" if pack.aligned else "A's frame in B",
    ]
    height = 2.1 * pack.size[0] / pack.size[1] + 0.15
    figure = Figure(figsize=(2.1 * len(titles), height * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for i, index in enumerate(rows):
        label = labels[index] if labels is not None else None
        cells = _row(a[i], b[i], pack.aligned, label, int(index), pack.max_patch)
        for axis, cell in zip(axes[i], cells, strict=True):
            axis.imshow(cell, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        axes[i][0].set_ylabel(keys[index][-24:], fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    counted = ", ".join(f"{n} {s}" for s, n in pack.counts.items())
    figure.suptitle(f"{pack.name}: {counted}; {pack.size[1]}x{pack.size[0]} px; {split} pairs", fontsize=10)
    save_figure(figure, path, dpi=110)


def _pictures(pack: Pack, split: Split, side: Any, rows: NDArray[np.intp]) -> list[Picture]:
    """The chosen images of a side as 8-bit RGB, black and white where a network has 0 and 1."""
    stored = Streamed(pack, split, "a" if pack.single else side).take(torch.from_numpy(rows))
    if pack.distortion != "none":  # as in a run
        drawn = draw_distortion(pack.distortion, len(rows), torch.Generator().manual_seed(seed_of("preview", side)))
        stored = drawn.apply(to_float(stored).expand(-1, 3, -1, -1))
    if stored.dtype != torch.uint8:
        stored = (stored * 255).round().to(torch.uint8)
    images = stored.permute(0, 2, 3, 1).numpy()
    return [np.array(np.broadcast_to(image, (*image.shape[:2], 3))) for image in images]


def _row(
    a: Picture, b: Picture, aligned: bool, label: NDArray[np.float64] | None, seed: int, max_patch: int | None = None
) -> list[Picture]:
    a = _central(a, max_patch)
    overlays = [_checkerboard(a, b), _edges_on(a, b)]
    if aligned:
        patch, placed = _warped_example(a, b, seed)
    elif label is not None and np.isfinite(label).all():
        patch, placed = _warped_onto(a, b, label, max_patch)
        overlays = [_checkerboard(patch, b), _edges_on(patch, b)]
    else:
        patch, placed = np.zeros_like(a), b
    return [a, b, *overlays, patch, placed]


def _checkerboard(a: Picture, b: Picture, tiles: int = 6) -> Picture:
    h, w = a.shape[:2]
    y, x = np.mgrid[:h, :w]
    odd = (y * tiles // h + x * tiles // w) % 2 == 1
    return np.where(odd[..., None], b, a)


def _edges_on(a: Picture, b: Picture) -> Picture:
    """A dimmed, with the strongest 8 % of the gradients of B in red."""
    grey = cv2.GaussianBlur(cv2.cvtColor(b, cv2.COLOR_RGB2GRAY), (0, 0), 1.2).astype(np.float32)
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edges = strength > max(float(np.percentile(strength, 92)), 1e-3)
    return np.where(edges[..., None], np.array((255, 40, 40), np.uint8), (a * 0.8).astype(np.uint8))


def _warped_example(a: Picture, b: Picture, seed: int) -> tuple[Picture, Picture]:
    """A source patch as training makes them, corners moved by up to a quarter, and B with its true place."""
    h, w = a.shape[:2]
    side = min(128, int(min(h, w) * 2 / 3))
    rho = side // 4
    random = np.random.default_rng(seed)
    offset = torch.tensor([random.integers(rho, w - side - rho + 1), random.integers(rho, h - side - rho + 1)])
    moved = torch.from_numpy(random.integers(-rho, rho + 1, (1, 4, 2)).astype(np.float64))
    size = (side, side)
    # Patch pixels -> target-window pixels -> image pixels.
    to_image = geometry.compose(
        geometry.translation(offset.double()), geometry.homography_from_displacement(moved, size)
    )
    image = torch.from_numpy(a).permute(2, 0, 1)[None].double()
    patch = geometry.sample(image, to_image, size)[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    quad = geometry.transform_points(to_image, geometry.corners(size, dtype=torch.float64))[0].numpy()
    window = (geometry.corners(size) + offset).numpy()
    return patch, _outlined(_outlined(b, window, WHITE), quad, GREEN)


def _central(a: Picture, side: int | None) -> Picture:
    """A with black around its central square, outside which the image was filled by mirroring."""
    if side is None:
        return a
    top, left = ((length - side) // 2 for length in a.shape[:2])
    shown = np.zeros_like(a)
    shown[top : top + side, left : left + side] = a[top : top + side, left : left + side]
    return shown


def _warped_onto(
    a: Picture, b: Picture, label: NDArray[np.float64], side: int | None = None
) -> tuple[Picture, Picture]:
    """A warped onto B by a pair's label, and B with the frame that A fills."""
    homography = torch.from_numpy(label)[None]
    size = (a.shape[0], a.shape[1])
    image = torch.from_numpy(a).permute(2, 0, 1)[None].double()
    warped = geometry.warp(image, homography)[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    height, width = (side, side) if side else size
    frame = geometry.corners((height, width), dtype=torch.float64)
    frame = frame + torch.tensor([(size[1] - width) // 2, (size[0] - height) // 2])
    quad = geometry.transform_points(homography, frame)[0].numpy()
    return warped, _outlined(b, quad, GREEN)


def _outlined(image: Picture, quad: NDArray[Any], colour: tuple[int, int, int]) -> Picture:
    """The image with a quadrilateral (TL, TR, BL, BR) drawn on a copy."""
    ring = np.round(quad[[0, 1, 3, 2]] * 16).astype(np.int32)  # 1/16 px
    copy = image.copy()
    cv2.polylines(copy, [ring], True, colour, 1, cv2.LINE_AA, shift=4)
    return copy
