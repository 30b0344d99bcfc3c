"""Test pairs against how they are drawn: which pairs a set gives follows from its name, its size and the protocol.

So the pairs of a board can be drawn again without its images, and the hash of the test pairs (which covers the hash of
the pack) checked. Where the size of the images is not known, square sizes are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from regbench import geometry
from regbench.api.config import ComponentConfig
from regbench.data.manifest import drawn_pairs, manifest_sha256
from regbench.data.pairs import Draws
from regbench.data.protocol import Protocol
from regbench.plugins.registry import registry
from regbench.report.checks.record import command_options
from regbench.report.figures.overlay import is_embedded
from regbench.results import Identity, Pairs, Result

LEAST_PAIRS = Protocol().test_pairs
_LARGEST = 1024  # px, of the square images that are tried


def problems(result: Result, pairs: Pairs, packs: Iterable[str]) -> Iterator[str]:
    """Problems of the test pairs of one run that is ok; each a sentence without its subject.

    Args:
        result: its record.
        pairs: its test pairs.
        packs: hashes of packs of its data set that runs on the same test pairs name.
    """
    identity = result.identity
    embedded = is_embedded(identity)  # and so aligned, whatever its settings
    if identity.protocol.pairing == "given":
        if embedded:
            yield f"takes pairs of {identity.test_dataset.name} as given, which are aligned"
        return
    truth = torch.from_numpy(pairs.displacement)
    whole = bool((truth == truth.round()).all())
    transferred = identity.train_dataset is not None and identity.train_dataset.name != identity.test_dataset.name
    if transferred and not whole and not embedded:
        return  # judged on really unaligned pairs
    patch, rho = identity.protocol.patch, identity.protocol.rho
    if not whole or float(truth.abs().max()) > rho:
        yield f"holds displacements that are not whole pixels within ±{rho} px"
        return
    if not bool(geometry.is_convex(truth, (patch, patch)).all()):
        yield "holds displacements that fold the patch, which are never drawn"
        return
    if len(pairs.ok) < LEAST_PAIRS:
        yield f"holds {len(pairs.ok)} test pairs; a set gives at least {LEAST_PAIRS}"
        return
    count = _images(pairs.image)
    sizes = _sizes(result)
    found = _drawn(identity.test_dataset.name, count, pairs, identity, sizes)
    if found is None:
        # Settings that no command tells may give another size.
        if embedded or (sizes and command_options(result)):
            yield f"holds other test pairs than {identity.test_dataset.name} gives; was one dropped or changed?"
        return
    image = torch.from_numpy(pairs.image).long()
    protocol = Protocol.model_validate(identity.protocol.model_dump())
    hashes = {manifest_sha256(pack, protocol, found, image) for pack in packs}
    if hashes and identity.test_dataset.manifest_sha256 not in hashes:
        yield (
            f"names the test pairs {identity.test_dataset.manifest_sha256[:12]}, but its pack and its pairs give "
            f"{min(hashes)[:12]}"
        )


def _images(image: NDArray[np.int32]) -> int:
    """The least number of test images after which their numbers repeat."""
    n = len(image)
    return next(c for c in range(1, n + 1) if n % c == 0 and np.array_equal(np.tile(image[:c], n // c), image))


def _drawn(name: str, count: int, pairs: Pairs, identity: Identity, sizes: tuple[tuple[int, int], ...]) -> Draws | None:
    """The draws that gave these pairs; None where no size and number of images does."""
    truth, protocol = pairs.displacement.tobytes(), identity.protocol
    return _search(name, count, len(pairs.ok), truth, protocol.patch, protocol.rho, sizes)


@lru_cache(maxsize=64)
def _search(
    name: str, count: int, n: int, truth: bytes, patch: int, rho: int, sizes: tuple[tuple[int, int], ...]
) -> Draws | None:
    protocol = Protocol(patch=patch, rho=rho)
    squares = ((side, side) for side in range(patch + 2 * rho, _LARGEST + 1))
    counts = [c for c in range(count, n + 1, count) if n % c == 0]
    for size in (*sizes, *squares):
        if min(size) < patch + 2 * rho:
            continue
        for images in counts:
            draws = drawn_pairs(name, images, n // images, size, protocol)
            if draws.displacement.numpy().tobytes() == truth:
                return draws
    return None


def _sizes(result: Result) -> tuple[tuple[int, int], ...]:
    """Sizes that the images of the test set may have: of its command line, and of its reader's defaults."""
    found = []
    said = dict(pair.partition("=")[::2] for pair in command_options(result).get("--set", []))
    side = said.get("dataset.size", "")
    height, width = said.get("dataset.height", side), said.get("dataset.width", side)
    if height.isdecimal() and width.isdecimal() and max(len(height), len(width)) < 6:
        found.append((int(height), int(width)))
    component = registry().find("dataset", result.identity.test_dataset.name)
    if component is not None:
        try:
            cls = component.load()
            size = cls(getattr(cls, "Config", ComponentConfig)(**component.config), None).size
            found.append((int(size[0]), int(size[1])))
        except Exception:  # a reader need not know its size without its folder
            pass
    return tuple(dict.fromkeys(found))
