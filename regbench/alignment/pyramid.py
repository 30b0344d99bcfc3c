"""From coarse to fine: the first homography again, on tiles of finer levels.

A level is named by its factor: pixels of the target along a pixel of the level. The source is resampled on the target's
tiles by the homography of the level before, so that the two images of a tile differ by little, whatever the scale,
rotation and size of the whole; the tiles' answers are combined by MAGSAC. The finest level is that of the coarser
image: beyond it there is nothing to see. What does not raise the agreement of the images' edges is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from regbench.alignment.images import Floats, OwnImage
from regbench.alignment.methods import Found, Method
from regbench.alignment.tiles import THRESHOLD, Laid, Points, combine, grid, lay, overlap, scale_at
from regbench.alignment.types import Matches, Matrix
from regbench.confidence.laid import corners_of, moved
from regbench.ops.edges import edge_agreement, edge_field, edge_shift

TILE = 384
"""Side of a tile, px, for methods that take any size."""
MOST_TILES = 4
"""Tiles along a side of the overlap."""
PATCH = 96
"""Side of a tile, px, whose shift is read off its edges."""
REACH = 6
"""Largest such shift, px."""
_COVERED = 0.6  # share of a tile that both images must show
_POINTS = 3  # along a side of a tile, that stand for its homography
_BATCH = 8  # tiles a network registers at a time

Finder = Callable[[Sequence[Floats], Sequence[Floats]], Sequence[Found]]


class Level(NamedTuple):
    """What a level found, in pixels of the whole images."""

    homography: Matrix
    matches: Matches | None


def refine(method: Method, source: OwnImage, target: OwnImage, start: Matrix, first: float) -> Level:
    """Improve a homography from level to level, by the method itself and at last by the shifts of edges.

    A method that needs the whole of both images is not asked again: shifts of edges do it on all levels.

    Args:
        method: what estimates.
        source: the moving image.
        target: the fixed image.
        start: source pixels to target pixels.
        first: factor of the level that ``start`` was found at.

    Returns:
        The homography and the matches of the last level that improved it; matches are None where the method has none.
    """
    found = Level(start, None)
    side, step = (method.patch, 2.0) if method.patch else (TILE, 3.0)
    if method.whole:  # looked at a size below the working one
        levels = factors(source, target, start, 2 * first, 2.0)
    else:
        levels = factors(source, target, start, first, step)
        for factor in levels:
            found = _level(method.find_each, source, target, found, factor, side) or found
    for factor in levels if method.whole else levels[-2:]:
        for _ in range(2):
            polished = _level(shifts, source, target, found, factor, PATCH)
            if polished is None:
                break
            found = Level(polished.homography, found.matches)
    return found


def factors(source: OwnImage, target: OwnImage, homography: Matrix, first: float, step: float) -> list[float]:
    """Factors of the levels, coarse to fine, ending with the resolution of the coarser image."""
    last = max(1.0, scale_at(homography, source.size))
    range_ = max(first / last, 1.0)
    count = max(1, int(np.ceil(np.log(range_) / np.log(step) - 0.1)))
    return [last * range_ ** (1 - k / count) for k in range(1, count + 1)]


def shifts(sources: Sequence[Floats], targets: Sequence[Floats]) -> list[Found]:
    """The shift of each tile that best lays its edges on each other; None where the best one is the largest tried."""
    fields = [edge_field(torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)) for tiles in (sources, targets)]
    best, _ = edge_shift(fields[0], fields[1], REACH)
    answers = []
    for x, y in best.double().tolist():
        near = max(abs(x), abs(y)) < REACH - 0.5
        answers.append(Found(np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) if near else None))
    return answers


def _level(find: Finder, source: OwnImage, target: OwnImage, start: Level, factor: float, side: int) -> Level | None:
    """A better homography from the tiles of one level; None where they do not agree on one, or it is not better."""
    pieces = tiles(source, target, start.homography, factor, side)
    from_, to, inliers = _correspondences(find, pieces)
    homography, kept = combine(from_, to, THRESHOLD * factor)
    if homography is None or not _near(start.homography, homography, source, 0.5 * side * factor):
        return None
    before = agreement(pieces)
    after = agreement(tiles(source, target, homography, factor, side))
    if not after > before:
        return None
    return Level(homography, Matches(from_, to, kept) if inliers else start.matches)


def tiles(source: OwnImage, target: OwnImage, homography: Matrix, factor: float, side: int) -> list[Laid]:
    """Square pieces of ``side`` px of a level, spread over what both images show."""
    window = overlap(source.size, target.size, homography)
    if window is None:
        return []
    whole = round(side * factor)
    found = []
    for place in grid(window, whole, MOST_TILES if side > PATCH else 2 * MOST_TILES + 2):
        piece = lay(source, target, homography, factor, place)
        if piece is not None and min(piece.seen.shape) >= 16 and piece.seen.mean() > _COVERED:
            found.append(piece)
    return found


def agreement(pieces: Sequence[Laid]) -> float:
    """Mean edge agreement of pieces in [-1, 1], weighed by what both images show; -1 for none."""
    if not pieces:
        return -1.0
    total = weight = 0.0
    for piece in pieces:
        fields = [edge_field(torch.from_numpy(x).permute(2, 0, 1)[None]) for x in (piece.source, piece.target)]
        seen = torch.from_numpy(piece.seen)[None, None].float()
        total += float(edge_agreement(fields[0], fields[1], seen)) * float(seen.sum())
        weight += float(seen.sum())
    return total / max(weight, 1.0)


def _correspondences(find: Finder, pieces: Sequence[Laid]) -> tuple[Points, Points, bool]:
    """Corresponding pixels of the whole images, ``(N, 2)`` each, and whether they are matches of a matcher."""
    from_, to, matched = [np.empty((0, 2))], [np.empty((0, 2))], False
    for batch in _of_one_size(pieces):
        answers = find([p.source for p in batch], [p.target for p in batch])
        for piece, answer in zip(batch, answers, strict=True):
            if answer.homography is None:
                continue
            if answer.matches is not None:
                a, b = (points[answer.matches.inliers] for points in (answer.matches.source, answer.matches.target))
                matched = True
            else:
                a = _spread(piece.seen.shape)
                b = moved(answer.homography, a)
            from_.append(moved(piece.to_source, a))
            to.append(moved(piece.to_target, b))
    return np.concatenate(from_), np.concatenate(to), matched


def _of_one_size(pieces: Sequence[Laid]) -> list[list[Laid]]:
    """Batches of pieces of one size."""
    batches: list[list[Laid]] = []
    for piece in sorted(pieces, key=lambda p: p.seen.shape):
        if batches and batches[-1][0].seen.shape == piece.seen.shape and len(batches[-1]) < _BATCH:
            batches[-1].append(piece)
        else:
            batches.append([piece])
    return batches


def _spread(size: tuple[int, ...]) -> Points:
    """Points ``(N, 2)`` on a grid from corner to corner of an image."""
    h, w = size
    y, x = np.meshgrid(np.linspace(0, h - 1, _POINTS), np.linspace(0, w - 1, _POINTS), indexing="ij")
    return np.stack([x.ravel(), y.ravel()], 1)


def _near(first: Matrix, second: Matrix, source: OwnImage, most: float) -> bool:
    """Whether two homographies agree at the source's corners to ``most`` px, and do not fold it."""
    ring = corners_of(source.size)
    depths = ring @ second[2, :2] + second[2, 2]
    apart = np.abs(moved(first, ring) - moved(second, ring)).max()
    return bool((depths > 0).all() and np.isfinite(apart) and apart < most)
