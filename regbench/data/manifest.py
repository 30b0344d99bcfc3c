"""Frozen test pairs: the same for every method and every seed, hashed into every result."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regbench.config import Protocol
from regbench.data.pack import Pack
from regbench.data.pairs import Draws, check_fits, draw_pairs, given_pairs
from regbench.errors import UsageError
from regbench.seeds import seed_of

VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """Test pairs of one pack under one protocol.

    Attributes:
        draws: which image, window and displacement, N pairs.
        image: ``(N,)`` the image (group) each pair comes from; intervals resample these.
        sha256: hash of all of it and of the pack's content.
    """

    draws: Draws
    image: Tensor
    sha256: str


def test_manifest(pack: Pack, protocol: Protocol) -> Manifest:
    """The frozen test pairs of a pack: every test image equally often, at least ``protocol.test_pairs`` in all.

    The run's seed does not enter. Raises UsageError when the set has no test images or no labels.
    """
    check_fits(pack, protocol)
    count = pack.counts["test"]
    if count == 0:
        raise UsageError(f"{pack.name} has no test pairs; its test split is empty")
    if pack.aligned:
        repeats = math.ceil(protocol.test_pairs / count)
        generator = torch.Generator().manual_seed(
            seed_of("test manifest", VERSION, pack.name, count, pack.size, protocol.patch, protocol.rho)
        )
        draws = draw_pairs(torch.arange(count).repeat(repeats), pack.size, protocol, generator)
    else:
        draws = given_pairs(pack, "test", protocol, labelled=True)
        if not len(draws):
            raise UsageError(f"{pack.name}: its unaligned test pairs carry no label, so no error can be measured")
    image = torch.from_numpy(pack.groups("test")).long()[draws.index]
    digest = hashlib.sha256(f"{VERSION} {pack.sha256} {protocol.patch} {protocol.source}".encode())
    for part in (draws.index, draws.origin.int(), draws.displacement, image):
        digest.update(part.contiguous().numpy().tobytes())
    return Manifest(draws, image, digest.hexdigest())
