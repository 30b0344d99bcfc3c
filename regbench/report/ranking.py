"""Ranking of the rows of a section: which row is significantly better than which, and by how much."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from regbench.metrics.types import Floats
from regbench.metrics.uncertainty import Bootstrap, Interval, holm, sign_flip
from regbench.report.board import BOARD_METRICS, Board, BoardRow, Section
from regbench.report.names import RowNames, names_of

ALPHA = 0.05
STUDENT_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t for 1 to 9 degrees of freedom. The last, being wider, also serves for more."""


@dataclass(frozen=True)
class RankedRow:
    """A row with its rank and its numbers. ``rank`` is None, and the numbers are empty, where no run is ok."""

    row: BoardRow
    names: RowNames
    rank: int | None
    values: dict[str, float]
    """By metric of :data:`~regbench.report.board.BOARD_METRICS`: mean over seeds and pairs."""
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    """By metric: 95 % interval over test images."""
    seed_intervals: dict[str, Interval | None] = field(default_factory=dict)
    """By metric: 95 % interval over seeds; None for fewer than three."""
    identity_mace: float = math.nan
    """MACE of the zero displacement, px."""
    ratio_interval: Interval | None = None
    """95 % interval of :attr:`ratio` over test images."""

    @property
    def ratio(self) -> float:
        """MACE over identity's MACE."""
        return self.values["mace"] / self.identity_mace if self.identity_mace > 0 else math.nan


@dataclass(frozen=True)
class Ranking:
    """The rows of a section in order (rank, then MACE, then name; rows without a finished run last)."""

    rows: list[RankedRow]
    better: dict[tuple[int, int], Interval]
    """(i, j): row i is significantly better than row j, with the interval of MACE(j) - MACE(i) in pixels."""

    @property
    def finished(self) -> list[RankedRow]:
        """The rows that have a finished run."""
        return [ranked for ranked in self.rows if ranked.values]


def ranked_sections(board: Board) -> list[tuple[Section, Ranking]]:
    """The sections of a board with their rows ranked."""
    return [(section, rank_rows(rows)) for section, rows in board.sections.items()]


def rank_rows(rows: Sequence[BoardRow]) -> Ranking:
    """Rank the rows of a section by MACE.

    A row is better than another when two conditions hold: the paired sign-flip test over images is significant at 5 %
    after Holm's correction over all comparisons of the section, and the paired 95 % interval of the difference does not
    contain zero. The rank of a row is one more than the number of rows that are better than it, so rows that are not
    separated share a rank.
    """
    names = names_of(rows)
    finished = sorted((row for row in rows if row.finished), key=lambda row: (row.pair_scores["mace"].mean(), row.key))
    unfinished = [RankedRow(row=row, names=names[row.key], rank=None, values={}) for row in rows if not row.finished]
    if not finished:
        return Ranking(unfinished, {})
    pairs = finished[0].finished[0].pairs
    assert pairs is not None
    draws = Bootstrap(pairs.image)
    scores = np.stack([row.pair_scores["mace"] for row in finished], axis=1)  # (N, R)
    better = _significant(scores, pairs.image, draws)
    ranks = [1 + sum(worse == index for _, worse in better) for index in range(len(finished))]
    order = sorted(range(len(finished)), key=lambda index: (ranks[index], index))
    position = {index: place for place, index in enumerate(order)}
    ranked = [
        RankedRow(
            row=finished[index],
            names=names[finished[index].key],
            rank=ranks[index],
            values={name: float(finished[index].pair_scores[name].mean()) for name in BOARD_METRICS},
            intervals={name: draws.interval(draws.means(finished[index].pair_scores[name])) for name in BOARD_METRICS},
            seed_intervals={
                name: seed_interval(runs, math.inf if name == "mace" else 100.0)
                for name, runs in finished[index].run_scores.items()
            },
            identity_mace=float(pairs.identity_error.mean()),
            ratio_interval=draws.ratio(scores[:, index], pairs.identity_error),
        )
        for index in order
    ]
    return Ranking(ranked + unfinished, {(position[i], position[j]): bounds for (i, j), bounds in better.items()})


def seed_interval(scores: Sequence[float], maximum: float = math.inf) -> Interval | None:
    """95 % t-interval of the mean over seeds, cut to [0, ``maximum``]; None for fewer than three seeds."""
    if len(scores) < 3:
        return None
    t = STUDENT_T_975[min(len(scores) - 1, len(STUDENT_T_975)) - 1]
    half = t * statistics.stdev(scores) / math.sqrt(len(scores))
    middle = statistics.fmean(scores)
    return max(0.0, middle - half), min(maximum, middle + half)


def _significant(scores: Floats, image: ArrayLike, draws: Bootstrap) -> dict[tuple[int, int], Interval]:
    """Significantly different columns of ``(N, R)`` scores, which are in ascending order of their means.

    Returns:
        (better, worse) column numbers, each with the 95 % interval of the difference of their means.
    """
    first, second = np.triu_indices(scores.shape[1], k=1)
    if not len(first):
        return {}
    excess = scores[:, second] - scores[:, first]
    adjusted = holm(sign_flip(excess, image))
    means = draws.means(excess)
    significant = {}
    for c in np.flatnonzero(adjusted < ALPHA):
        bounds = draws.interval(means[:, c])
        if bounds is not None and bounds[0] > 0:
            significant[int(first[c]), int(second[c])] = bounds
    return significant
