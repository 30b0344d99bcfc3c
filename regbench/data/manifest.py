"""Frozen test pairs: the same for every method and every seed, hashed into every result."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from regbench.data.packs.pack import Pack
from regbench.data.pairs import CUTTING, Draws, central_origin, check_fits, draw_pairs, given_pairs
from regbench.data.protocol import Protocol
from regbench.errors import UsageError
from regbench.seeds import seed_of

VERSION = 1
Truth = Literal["labels", "tie points", "none"]


@dataclass(frozen=True)
class Manifest:
    """Test pairs of one pack under one protocol.

    Attributes:
        draws: which image, window and displacement, N pairs.
        image: ``(N,)`` the image (group) each pair comes from; intervals resample these.
        sha256: hash of all of it, of the pack's content and of the version of the code that cuts patches.
        truth: what estimates are compared with.
        points: ``(N, K, 4)`` tie points in patch pixels, ``x, y`` in the source then in the target, NaN beyond those a
            pair has; only where they are the truth.
    """

    draws: Draws
    image: Tensor
    sha256: str
    truth: Truth = "labels"
    points: Tensor | None = None


def test_manifest(pack: Pack, protocol: Protocol) -> Manifest:
    """The frozen test pairs of a pack: every test image equally often, at least ``protocol.test_pairs`` in all.

    The run's seed does not enter. A set of really unaligned pairs gives those with a label; if none has one, those with
    tie points inside the patch; if there is no truth at all, every pair, to be judged without it.

    Raises:
        UsageError: the set has no test images, or the protocol does not fit it.
    """
    check_fits(pack, protocol)
    count = pack.counts["test"]
    if count == 0:
        raise UsageError(f"{pack.name} has no test pairs; its test split is empty")
    if pack.aligned:
        draws = drawn_pairs(pack.name, count, math.ceil(protocol.test_pairs / count), pack.size, protocol)
        draws = draws.coloured(pack, lambda: torch.Generator().manual_seed(seed_of("test colours", VERSION, pack.name)))
    else:
        draws = given_pairs(pack, "test", protocol, labelled=True)
    truth: Truth = "labels"
    points = None
    if not len(draws):
        draws, points = _tie_points(pack, protocol)
        truth = "tie points"
    if not len(draws):
        draws, points = given_pairs(pack, "test", protocol, labelled=False), None
        draws = replace(draws, displacement=torch.full_like(draws.displacement, torch.nan))
        truth = "none"
    image = torch.from_numpy(pack.groups("test")).long()[draws.index]
    return Manifest(draws, image, manifest_sha256(pack.sha256, protocol, draws, image, points), truth, points)


def drawn_pairs(name: str, count: int, repeats: int, size: tuple[int, int], protocol: Protocol) -> Draws:
    """The test pairs of an aligned set, which follow from these facts alone.

    Args:
        name: of the data set.
        count: of its test images.
        repeats: pairs made of each.
        size: (height, width) of the images.
        protocol: patch and rho.
    """
    generator = torch.Generator().manual_seed(
        seed_of("test manifest", VERSION, name, count, size, protocol.patch, protocol.rho)
    )
    return draw_pairs(torch.arange(count).repeat(repeats), size, protocol, generator)


def manifest_sha256(
    pack_sha256: str, protocol: Protocol, draws: Draws, image: Tensor, points: Tensor | None = None
) -> str:
    """The hash of test pairs: of the pack they are cut from, and of which pairs they are."""
    digest = hashlib.sha256(f"{VERSION} {pack_sha256} {protocol.patch} {protocol.source}".encode())
    if CUTTING != 1:
        digest.update(f"cutting {CUTTING}".encode())
    for part in (draws.index, draws.origin.int(), draws.displacement, image, points):
        if part is not None:
            digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tie_points(pack: Pack, protocol: Protocol) -> tuple[Draws, Tensor | None]:
    """The pairs with tie points inside both patches, and these points ``(N, K, 4)`` in patch pixels."""
    draws = given_pairs(pack, "test", protocol, labelled=False)
    draws = replace(draws, displacement=torch.full_like(draws.displacement, torch.nan))
    stored = pack.points("test")
    if stored is None:
        return draws[:0], None
    origin = central_origin(pack, protocol)
    points = torch.from_numpy(stored).float() - origin.repeat(2)
    if protocol.source == "B":
        points = points.roll(2, -1)
    inside = ((points >= 0) & (points <= protocol.patch - 1)).all(-1)  # NaN is not inside
    points = torch.where(inside[..., None], points, torch.nan)
    some = inside.any(1)
    return draws[some], points[some]
