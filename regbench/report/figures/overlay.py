"""Test pairs as pictures: the estimated place of the source on the target, and the source warped to that place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regbench import geometry
from regbench.data.manifest import test_manifest
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import ensure
from regbench.data.protocol import Protocol
from regbench.data.test_pairs import TestPairs
from regbench.errors import DataError, UsageError
from regbench.plugins.registry import registry
from regbench.results import Identity, Pairs

Picture = NDArray[np.uint8]
"""``(S, S, 3)`` RGB."""
MARGIN_GREY = 0.85
"""Grey level of the margin around the target patch, in which corners may lie."""
CHECKERBOARD_TILES = 6
"""Tiles of the checkerboard along a side."""


@dataclass(frozen=True)
class Scene:
    """One test pair with a run's estimate, on a canvas: the target patch with a margin of rho pixels."""

    index: int
    """Number of the pair in the manifest."""
    error: float
    """ACE of the estimate in px."""
    identity_error: float
    """ACE of the zero displacement in px."""
    target: Picture
    checkerboard: Picture
    """Tiles of the target alternate with tiles of the source warped by the estimate."""
    truth: NDArray[np.float64]
    """``(4, 2)`` canvas px: the source's corners on the target, in drawing order."""
    estimate: NDArray[np.float64] | None
    """The estimated corners, likewise; None where the method found no answer."""


class DifferentPairsError(DataError):
    """The images at hand do not give the test pairs of a run."""


class Scenes:
    """Draws the test pairs of a pack.

    Args:
        pack: the images.
        protocol: how the test pairs are made.
    """

    def __init__(self, pack: Pack, protocol: Protocol) -> None:
        self.manifest = test_manifest(pack, protocol)
        self._test_pairs = TestPairs(pack, self.manifest, protocol)
        self._patch, self._margin = protocol.patch, protocol.rho

    def scene(self, pairs: Pairs, index: int) -> Scene:
        """Draw pair ``index`` with a run's estimate."""
        source, target = self._test_pairs.images(index, index + 1)
        side = self._patch + 2 * self._margin
        inner = slice(self._margin, self._margin + self._patch)
        canvas = torch.full((3, side, side), MARGIN_GREY)
        canvas[:, inner, inner] = target[0]
        known = bool(pairs.ok[index]) and bool(np.isfinite(pairs.estimate[index]).all())
        checkerboard = canvas
        if known:
            size = (self._patch, self._patch)
            estimate = torch.from_numpy(pairs.estimate[index : index + 1]).double()
            shift = geometry.translation(torch.full((1, 2), float(self._margin), dtype=torch.float64))
            placed = geometry.compose(shift, geometry.homography_from_displacement(estimate, size))
            back = geometry.invert(placed)
            moved = geometry.sample(source.double(), back, (side, side))[0]
            covered = geometry.inside(back, (side, side), size)[0, 0] > 0
            y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
            odd = (y * CHECKERBOARD_TILES // side + x * CHECKERBOARD_TILES // side) % 2 == 1
            checkerboard = torch.where(covered & odd, moved.float(), canvas)
        return Scene(
            index=index,
            error=float(pairs.errors.scored[index]),
            identity_error=float(pairs.identity_error[index]),
            target=_picture(canvas),
            checkerboard=_picture(checkerboard),
            truth=self._quadrilateral(pairs.displacement[index]),
            estimate=self._quadrilateral(pairs.estimate[index]) if known else None,
        )

    def _quadrilateral(self, displacement: NDArray[np.float32]) -> NDArray[np.float64]:
        """``(4, 2)`` canvas px: the displaced corners in drawing order TL, TR, BR, BL."""
        corners = geometry.corners((self._patch, self._patch)).numpy() + displacement + self._margin
        return corners[[0, 1, 3, 2]].astype(np.float64)


def scenes_of(
    identity: Identity, count: int, root: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Scenes:
    """The scenes of a run's test pairs.

    Args:
        identity: identity of the run.
        count: number of its test pairs.
        root: folder of the data set, where it is not prepared yet.
        settings: settings of the data set. A result does not hold them; the hash of the test pairs shows whether they
            are right.

    Raises:
        UsageError: the data set needs a folder, or its settings are wrong.
        DataError: the images cannot be read, or do not give the run's test pairs (DifferentPairsError).
    """
    pack = ensure(identity.test_dataset.name, root=root, settings=settings)
    protocol = identity.protocol.model_dump() | {"test_pairs": max(256, count)}
    try:
        scenes = Scenes(pack, Protocol(**protocol | ({} if pack.aligned else {"pairing": "given"})))
    except UsageError as error:  # the images are too small for these pairs
        raise DifferentPairsError(f"{error}; or give the settings it was prepared with: --set dataset.…") from error
    if scenes.manifest.sha256 != identity.test_dataset.manifest_sha256:
        raise DifferentPairsError(
            f"{pack.path} does not hold the test pairs of this run (manifest {scenes.manifest.sha256[:12]}, not "
            f"{identity.test_dataset.manifest_sha256[:12]}); give the settings it was prepared with: --set dataset.…"
        )
    return scenes


def is_embedded(identity: Identity) -> bool:
    """Whether the test data are synthetic ones of regbench, the only pictures that may be published with a board."""
    name = identity.test_dataset.name
    return any(c.name == name and c.distribution == "regbench" for c in registry().all("dataset"))


def best_median_worst(pairs: Pairs) -> dict[str, int]:
    """Numbers of the pairs with the smallest, median and largest error among those with an answer.

    Returns:
        Pair numbers by ``best``, ``median`` and ``worst``; empty where no pair has an answer.
    """
    answered = np.flatnonzero(~pairs.errors.failed)
    if not len(answered):
        return {}
    order = answered[np.argsort(pairs.error[answered], kind="stable")]
    return {"best": int(order[0]), "median": int(order[(len(order) - 1) // 2]), "worst": int(order[-1])}


def _picture(image: torch.Tensor) -> Picture:
    shown = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(shown.permute(1, 2, 0).numpy())
