"""What homographies and matched points say by themselves, before any pixel is looked at."""

from __future__ import annotations

from math import lgamma, log, log10, pi
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regbench.api.types import Matches
from regbench.confidence.laid import Matrix, Size, area, corners_of, moved

MOST_SCALE = 30.0
"""Largest change of scale, either way, that is believed."""
MOST_UNEVEN = 30.0
"""Largest ratio of the magnifications (of lengths) at two corners, or in two directions, that is believed."""
LEAST_OVERLAP = 0.05
"""Least share of the smaller image that both must show."""
INLIER = 3.0
"""px up to which a random match would count as an inlier."""
LEAST_DISTANCE = 1e-3
"""Share of the diagonal below which two homographies are the same."""


class Shape(NamedTuple):
    """The quadrilateral a homography lays the source on."""

    plausible: bool
    """Whether it is finite, convex, turned as the source is, neither too large nor too small nor too uneven, and shows
    enough of both images."""
    overlap: float
    """Share of the smaller image, or of the quadrilateral where that is smaller, that both show."""
    uneven: float
    """Decimal logarithm of the largest ratio of magnifications at two corners or in two directions."""


def shape_of(homography: Matrix, source: Size, target: Size) -> Shape:
    """Plausibility of a homography between images of these sizes.

    Source: the conditions on homographies of E. Vincent and R. Laganière, Detecting planar homographies in an image
    pair, ISPA 2001, with wider limits.
    """
    implausible = Shape(False, 0.0, log10(MOST_UNEVEN))
    if homography.shape != (3, 3) or not np.isfinite(homography).all():
        return implausible
    corners = corners_of(source)
    depth = np.concatenate([corners, np.ones((4, 1))], axis=1) @ homography[2]
    quad = moved(homography, corners)
    if not np.isfinite(quad).all() or not (np.sign(depth) == np.sign(depth[0])).all() or not _convex(quad):
        return implausible
    # At a corner a homography magnifies areas by det H / depth^3, by different amounts in two directions.
    singular = np.array([np.linalg.svd(_jacobian(homography, p), compute_uv=False) for p in corners])
    magnified = np.sqrt(singular.prod(axis=1))
    if not (singular[:, 1] > 0).all():
        return implausible
    uneven = max(float(magnified.max() / magnified.min()), float((singular[:, 0] / singular[:, 1]).max()))
    scale = float(np.exp(np.log(magnified).mean()))
    frame = corners_of(target)
    common = cv2.intersectConvexConvex(quad.astype(np.float32), frame.astype(np.float32))[0]
    overlap = float(common) / max(1.0, min(area(quad), area(frame)))
    good = 1 / MOST_SCALE < scale < MOST_SCALE and uneven < MOST_UNEVEN and overlap >= LEAST_OVERLAP
    return Shape(good, min(1.0, overlap), log10(min(uneven, MOST_UNEVEN)))


def cycle(homography: Matrix, reverse: Matrix, source: Size) -> float:
    """Mean distance of the source's corners from themselves after going there and back, share of its diagonal."""
    there = moved(homography, corners_of(source))
    return _distance(moved(reverse, there), corners_of(source))


def apart(homography: Matrix, other: Matrix, source: Size, target: Size) -> float:
    """Mean distance of the corners as two methods map them, share of the target's diagonal."""
    corners = corners_of(source)
    return _distance(moved(homography, corners), moved(other, corners), float(np.hypot(*target)))


def closeness(distance: float) -> float:
    """Minus the decimal logarithm of a distance, between 0 (the diagonal or more) and 3."""
    return -log10(min(1.0, max(LEAST_DISTANCE, distance)))


def supported(matches: Matches, homography: Matrix, source: Size, target: Size) -> dict[str, float]:
    """What matched points say: how many agree, and whether chance would give as many.

    Returns:
        ``inliers`` and their ``share``; ``log_nfa``, minus the decimal logarithm of the number of false alarms;
        ``spread``, the area of the inliers' hull in the target as a share of what both images show.
    """
    inliers, count = int(matches.inliers.sum()), len(matches.inliers)
    quad = moved(homography, corners_of(source)).astype(np.float32)
    common = float(cv2.intersectConvexConvex(quad, corners_of(target).astype(np.float32))[0])
    points = matches.target[matches.inliers].astype(np.float32)
    hull = float(cv2.contourArea(cv2.convexHull(points))) if inliers >= 3 else 0.0
    return {
        "inliers": float(inliers),
        "share": inliers / count if count else 0.0,
        "log_nfa": -log_false_alarms(inliers, count, INLIER, target),
        "spread": min(1.0, hull / max(common, 1.0)),
    }


def log_false_alarms(inliers: int, matches: int, threshold: float, size: Size) -> float:
    """Decimal logarithm of the expected number of homographies with as many inliers among random matches.

    This is the number of false alarms of Moisan and Stival (IJCV 57, 2004) for homographies,
    ``(N - 4) C(N, k) C(k, 4) p^(k - 4)``: four matches define a homography, and a further random match lies within
    ``threshold`` of its prediction with probability p, the area of that disc relative to the image.

    Args:
        inliers: k.
        matches: N.
        threshold: largest reprojection error of an inlier, px.
        size: of the target.

    Returns:
        Below zero where chance does not explain the inliers; at least zero for four or fewer.
    """
    if inliers <= 4 or matches <= 4:
        return 0.0
    p = min(pi * threshold**2 / (size[0] * size[1]), 1.0)
    tests = log10(matches - 4) + (_log_binomial(matches, inliers) + _log_binomial(inliers, 4)) / log(10)
    return tests + (inliers - 4) * log10(p)


def _log_binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _convex(quad: NDArray[np.float64]) -> bool:
    """Strictly, and clockwise on the screen."""
    edge = np.roll(quad, -1, axis=0) - quad
    following = np.roll(edge, -1, axis=0)
    return bool((edge[:, 0] * following[:, 1] - edge[:, 1] * following[:, 0] > 0).all())


def _jacobian(homography: Matrix, point: NDArray[np.float64]) -> Matrix:
    """``(2, 2)`` derivative of the mapping at a point."""
    x, y, z = homography @ np.array([*point, 1.0])
    return (homography[:2, :2] - np.outer([x / z, y / z], homography[2, :2])) / z


def _distance(a: Matrix, b: Matrix, diagonal: float | None = None) -> float:
    """Mean distance of points ``(4, 2)``, over the diagonal (of ``b`` where none is given); 1 at most."""
    length = float(np.hypot(*np.ptp(b, axis=0))) if diagonal is None else diagonal
    with np.errstate(invalid="ignore", over="ignore"):
        distance = float(np.linalg.norm(a - b, axis=1).mean()) / max(length, 1.0)
    return min(1.0, distance) if np.isfinite(distance) else 1.0
