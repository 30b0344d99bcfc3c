"""The first homography of two images, reduced to a working size, over possible differences of scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from regbench.alignment.images import Floats, OwnImage
from regbench.alignment.methods import Found, Method
from regbench.alignment.tiles import lay, matches_by, overlap
from regbench.alignment.types import CONFIDENT, Matches, Matrix
from regbench.confidence.model import Confidence, assess
from regbench.data.images import free_memory
from regbench.errors import UsageError

SIDES = ((6.0, 1024), (3.0, 768), (0.0, 512))
"""Memory that is free in GiB, and the longest side of images of working size, px."""
SCALES = (1.0, 2.0, 0.5, 4.0, 0.25, 8.0, 0.125)
"""Differences of scale that are tried, beside the one at which both images show the same extent."""
_MOST = 12.0  # largest difference of scale
_FURTHER = 512  # px: longest side at further scales, so that a search takes no minutes
_LEAST_SIDE = 64  # px; a smaller working image shows nothing


@dataclass(frozen=True)
class Coarse:
    """What is known of a pair at working size.

    Attributes:
        source: ``(h, w, 3)`` in [0, 1], as the method saw it.
        target: likewise.
        found: in pixels of these.
        confidence: of it.
        from_source: ``(3, 3)``, pixels of ``source`` to pixels of the whole source.
        from_target: likewise.
    """

    source: Floats
    target: Floats
    found: Found
    confidence: Confidence
    from_source: Matrix
    from_target: Matrix

    @property
    def homography(self) -> Matrix | None:
        """Pixels of the whole source to pixels of the whole target; None where there is no answer."""
        if self.found.homography is None:
            return None
        whole = self.from_target @ self.found.homography @ np.linalg.inv(self.from_source)
        return np.asarray(whole / whole[2, 2])

    @property
    def matches(self) -> Matches | None:
        """The matches in pixels of the whole images."""
        found = self.found.matches
        return None if found is None else matches_by(found, self.from_source, self.from_target)

    @property
    def factor(self) -> float:
        """Pixels of the whole target along a pixel of ``target``."""
        return float(np.sqrt(abs(np.linalg.det(self.from_target[:2, :2]))))

    def at_work(self, homography: Matrix | None) -> Matrix | None:
        """A homography of the whole images in pixels of the working images."""
        if homography is None:
            return None
        small = np.linalg.inv(self.from_target) @ homography @ self.from_source
        return np.asarray(small / small[2, 2])


def working_side() -> int:
    """Longest side of working images, by the memory that is free."""
    free = free_memory() / 2**30
    return next(side for least, side in SIDES if free >= least)


def find_coarse(method: Method, source: OwnImage, target: OwnImage, side: int, prior: Matrix | None) -> Coarse:
    """The most confident homography at working size.

    Args:
        method: what estimates.
        source: the moving image.
        target: the fixed image.
        side: longest side of working images, px.
        prior: source pixels to target pixels as far as they are known, such as from a map.

    Raises:
        UsageError: the images differ too much in size for the method.
    """
    best: Coarse | None = None
    for a, b, from_source, from_target in _starts(method, source, target, side, prior):
        found = method.find(a, b)
        confidence = assess(a, b, found.homography, matches=found.matches)
        coarse = Coarse(a, b, found, confidence, from_source, from_target)
        if best is None or confidence.value > best.confidence.value:
            best = coarse
        if confidence.value >= CONFIDENT:
            break
    if best is None:
        raise UsageError(
            f"{method.name} cannot align {_sized(source)} with {_sized(target)}: shown alike, one of them has fewer "
            f"than {_LEAST_SIDE} px, or they differ more than {_MOST:.0f} times in size; crop or scale one first"
        )
    return best


def _sized(image: OwnImage) -> str:
    return f"{image.name} ({image.size[1]}x{image.size[0]} px)"


def _starts(
    method: Method, source: OwnImage, target: OwnImage, side: int, prior: Matrix | None
) -> Iterator[tuple[Floats, Floats, Matrix, Matrix]]:
    """Pairs of working images to try, the likeliest first, with their pixels in the whole images."""
    if prior is not None and (window := overlap(source.size, target.size, prior)) is not None:
        laid = lay(source, target, prior, max(1.0, max(window.shape) / side), window)
        if laid is not None:
            yield laid.source, laid.target, laid.to_source, laid.to_target
    for from_, to in _factors(method, source, target, side):
        views = source.view(from_), target.view(to)
        yield views[0].pixels, views[1].pixels, views[0].to_whole, views[1].to_whole


def _factors(method: Method, source: OwnImage, target: OwnImage, side: int) -> Iterator[tuple[float, float]]:
    """Factors at which source and target are tried."""
    longest = max(source.size), max(target.size)
    if method.patch:  # takes the whole of both images, whatever their size
        yield tuple(max(1.0, n / min(side, 4 * method.patch)) for n in longest)  # type: ignore[misc]
        return
    same = longest[1] / longest[0]
    seen: list[float] = []
    for ratio in (same, 1.0) if method.any_scale else [same * scale for scale in SCALES]:
        if not 1 / _MOST <= ratio <= _MOST or any(abs(np.log(ratio / other)) < 0.2 for other in seen):
            continue
        side = side if not seen else min(side, _FURTHER)
        seen.append(ratio)
        from_ = max(1.0, 1 / ratio, longest[0] / side, longest[1] / side / ratio)
        if min(min(source.size) / from_, min(target.size) / (from_ * ratio)) >= min(
            _LEAST_SIDE, *source.size, *target.size
        ):
            yield from_, from_ * ratio
