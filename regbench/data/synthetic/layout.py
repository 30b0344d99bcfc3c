"""Where things are: a plane cut into parcels, the cuts that become roads, the bend that makes them natural.

Cutting convex pieces in two by oblique lines gives parcels of many sizes, whose borders meet in T-junctions
at angles that seldom repeat, and a connected road network, since each cut ends on an earlier one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
MARGIN = 16.0
"""Pixels by which the cut plane exceeds the image, so that no structure follows the image's border."""
_DENSE_PARCEL, _DENSE_CUT = 4, 18


@dataclass(frozen=True)
class Parcel:
    """A convex piece of land, in pixels before the bend."""

    ring: tuple[Point, ...]
    area: float
    angle: float
    """Direction of its longest side, radians."""


@dataclass(frozen=True)
class Cut:
    """A straight line that divided a piece of land, in pixels before the bend."""

    ends: tuple[Point, Point]
    area: float
    """Area of the piece it divided, px²: the larger, the more important the line."""


class Bend:
    """A smooth displacement of the plane, up to about ten pixels, that turns straight lines into curves."""

    def __init__(self, rng: np.random.Generator) -> None:
        direction = rng.uniform(0, 2 * math.pi, 5)
        wave = 2 * math.pi / rng.uniform(90, 260, 5)
        self._wave = np.stack([np.cos(direction), np.sin(direction)]) * wave
        self._phase = rng.uniform(0, 2 * math.pi, 5)
        self._push = rng.normal(0, 2.7, (5, 2))

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move points ``(..., 2)`` pixels."""
        return points + np.sin(points @ self._wave + self._phase) @ self._push


def subdivide(rng: np.random.Generator, size: int) -> tuple[list[Parcel], list[Cut]]:
    """Cut a plane a little larger than a ``size`` x ``size`` image.

    Parcels range from about 150 to 2500 px²: a 64 x 64 window sees several, small and large.
    """
    low, high = -MARGIN, size - 1 + MARGIN
    todo: list[tuple[Point, ...]] = [((low, low), (high, low), (high, high), (low, high))]
    parcels: list[Parcel] = []
    cuts: list[Cut] = []
    while todo:
        ring = todo.pop()
        area, angle = _measure(ring)
        stop, where, tilt = rng.normal(0, 1, 3).tolist()
        if area < 750 * math.exp(0.55 * stop):
            parcels.append(Parcel(ring, area, angle))
            continue
        # Across the longest side keeps pieces compact; the tilt keeps borders from being parallel.
        normal = angle + 0.2 * tilt
        n = (math.cos(normal), math.sin(normal))
        along = [x * n[0] + y * n[1] for x, y in ring]
        share = min(max(0.5 + 0.13 * where, 0.25), 0.75)
        offset = min(along) + share * (max(along) - min(along))
        one, other, ends = _split(ring, n, offset)
        todo += [one, other]
        cuts.append(Cut(ends, area))
    return parcels, cuts


def bent_rings(parcels: list[Parcel], bend: Bend) -> tuple[NDArray[np.float64], list[slice]]:
    """The parcels' outlines after the bend: points ``(N, 2)`` in pixels, and each parcel's slice of them."""
    start = np.array([point for parcel in parcels for point in parcel.ring])
    end = np.array([point for parcel in parcels for point in parcel.ring[1:] + parcel.ring[:1]])
    points = bend(_dense(np.stack([start, end], axis=1), _DENSE_PARCEL)).reshape(-1, 2)
    stops = [0, *(np.cumsum([len(parcel.ring) for parcel in parcels]) * _DENSE_PARCEL).tolist()]
    return points, [slice(*ends) for ends in pairwise(stops)]


def bent_cuts(cuts: list[Cut], bend: Bend) -> NDArray[np.float64]:
    """The cuts as polylines ``(len(cuts), N, 2)`` in pixels after the bend."""
    return bend(_dense(np.array([cut.ends for cut in cuts]), _DENSE_CUT))


def _dense(segments: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """``(M, 2, 2)`` segments to ``(M, count, 2)`` points: the start, but not the end of a side of a ring."""
    last = 1.0 if count == _DENSE_CUT else 1.0 - 1.0 / count
    t = np.linspace(0.0, last, count)[:, None]
    return segments[:, :1] + (segments[:, 1:] - segments[:, :1]) * t


def _measure(ring: tuple[Point, ...]) -> tuple[float, float]:
    """Area, px², and direction of the longest side, radians."""
    twice, longest, angle = 0.0, 0.0, 0.0
    x0, y0 = ring[-1]
    for x, y in ring:
        twice += x0 * y - x * y0
        dx, dy = x - x0, y - y0
        if dx * dx + dy * dy > longest:
            longest, angle = dx * dx + dy * dy, math.atan2(dy, dx)
        x0, y0 = x, y
    return 0.5 * twice, angle


def _split(
    ring: tuple[Point, ...], n: Point, offset: float
) -> tuple[tuple[Point, ...], tuple[Point, ...], tuple[Point, Point]]:
    """Divide a convex ring by the line n·p = offset, which must cross it; both halves and the cut's ends."""
    below: list[Point] = []
    above: list[Point] = []
    ends: list[Point] = []
    heights = [x * n[0] + y * n[1] - offset for x, y in ring]
    for p, q, a, b in zip(ring, ring[1:] + ring[:1], heights, heights[1:] + heights[:1], strict=True):
        (below if a < 0 else above).append(p)
        if (a < 0) != (b < 0):
            t = a / (a - b)
            crossing = (p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1]))
            below.append(crossing)
            above.append(crossing)
            ends.append(crossing)
    return tuple(below), tuple(above), (ends[0], ends[1])
