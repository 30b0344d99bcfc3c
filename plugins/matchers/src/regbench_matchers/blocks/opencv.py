"""Batches of tensors to and from methods that register one pair at a time, such as OpenCV's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regbench import Matches, Registration, geometry
from regbench.ops import to_grey
from regbench_matchers.blocks.robust import Matrix as Matrix
from regbench_matchers.blocks.robust import Solution

Grey = NDArray[np.uint8]
Found = Matrix | Solution | None
"""What a method says of a pair: a ``(3, 3)`` homography of pixels, one with its matches, or no answer."""


def grey_images(image: Tensor) -> list[Grey]:
    """``(B, 3, H, W)`` in [0, 1] to B grey uint8 images (ITU-R 601 luma, as OpenCV weighs RGB)."""
    return list(to_grey(image).squeeze(1).clamp(0, 1).mul(255).round().byte().cpu().numpy())


def register_each(source: Tensor, target: Tensor, estimate: Callable[[Grey, Grey], Found]) -> Registration:
    """Run a single-pair method over a batch.

    Args:
        source: ``(B, 3, H, W)`` in [0, 1].
        target: ``(B, 3, H', W')``.
        estimate: grey source and target to a homography of pixels, or None if it fails.

    Returns:
        The registration of the batch, see :func:`collect`.
    """
    pairs = zip(grey_images(source), grey_images(target), strict=True)
    return collect((estimate(a, b) for a, b in pairs), source)


def collect(found: Iterable[Found], source: Tensor) -> Registration:
    """The registration of a batch from the homographies of its pairs.

    Args:
        found: for each pair the map of source pixels to target pixels, or None if it failed.
        source: ``(B, 3, H, W)``, for its size and device.

    Returns:
        One estimate, ``(1, B, 4, 2)`` pixels. For pairs without a homography, or with one that folds the image, ``ok``
        is False and the displacement zero.
    """
    size = (source.shape[-2], source.shape[-1])
    displacement = torch.zeros(source.shape[0], 4, 2, dtype=torch.float64)
    ok = torch.zeros(source.shape[0], dtype=torch.bool)
    matches: list[Matches | None] = []
    for i, answer in enumerate(found):
        homography = answer.homography if isinstance(answer, Solution) else answer
        matches.append(answer.matches if isinstance(answer, Solution) else None)
        if homography is None or not np.isfinite(homography).all():
            continue
        moved = geometry.displacement_from_homography(torch.from_numpy(homography), size)
        if moved.isfinite().all() and geometry.is_convex(moved, size):
            displacement[i], ok[i] = moved, True
    device = source.device
    kept = tuple(matches) if any(matches) else ()
    return Registration(displacement.float().unsqueeze(0).to(device), size, ok.to(device), kept)
