"""Ranking of the rows of a section: which row is significantly better than which, and by how much."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from regbench.metrics.student import quantile_975
from regbench.metrics.types import Floats
from regbench.metrics.uncertainty import Images, Interval, holm, outlasts_unseen_failures
from regbench.report.board import BOARD_METRICS, Board, BoardRow, Section
from regbench.report.names import RowNames, names_of

ALPHA = 0.05


@dataclass(frozen=True)
class RankedRow:
    """A row with its rank and its numbers, which are empty where no run is ok.

    ``rank`` is None there, and in all rows where too few test images allow no order.
    """

    row: BoardRow
    names: RowNames
    rank: int | None
    values: dict[str, float]
    """By metric of :data:`~regbench.report.board.BOARD_METRICS`: mean over seeds and pairs."""
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    """By metric: 95 % interval over test images; None where nothing covers, see ``docs/statistics.md``."""
    seed_intervals: dict[str, Interval | None] = field(default_factory=dict)
    """By metric: 95 % interval over seeds; None for fewer than three."""
    identity_mace: float = math.nan
    """MACE of the zero displacement, px."""
    ratio_interval: Interval | None = None
    """95 % interval of :attr:`ratio` over test images."""
    decided_by_one: bool = False
    """Whether one image makes up four fifths of the variance of MACE."""

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
    images: Images | None = None
    """The test images; None where no run is ok."""

    @property
    def finished(self) -> list[RankedRow]:
        """The rows that have a finished run."""
        return [ranked for ranked in self.rows if ranked.values]


def ranked_sections(board: Board) -> list[tuple[Section, Ranking]]:
    """The sections of a board with their rows ranked."""
    return [(section, rank_rows(rows)) for section, rows in board.sections.items()]


def rank_rows(rows: Sequence[BoardRow]) -> Ranking:
    """Rank the rows of a section by MACE.

    A row is better than another when three conditions hold: the paired test over images is significant at 5 % after
    Holm's correction over all comparisons of the section; the paired 95 % interval of the difference does not contain
    zero; and the lead would last if the better row did nothing on all images of a kind that may not be among the test
    images. The rank of a row is one more than the number of rows that are better than it, so rows that are not
    separated share a rank. Too few images give no interval, no order and no rank.
    """
    names = names_of(rows)
    finished = sorted((row for row in rows if row.finished), key=lambda row: (row.pair_scores["mace"].mean(), row.key))
    unfinished = [RankedRow(row=row, names=names[row.key], rank=None, values={}) for row in rows if not row.finished]
    if not finished:
        return Ranking(unfinished, {})
    pairs = finished[0].finished[0].pairs
    assert pairs is not None
    images = Images(pairs.image)
    scores = np.stack([row.pair_scores["mace"] for row in finished], axis=1)  # (N, R)
    better = significant(scores, pairs.identity_error, images)
    ranks = [1 + sum(worse == index for _, worse in better) for index in range(len(finished))]
    order = sorted(range(len(finished)), key=lambda index: (ranks[index], index))
    position = {index: place for place, index in enumerate(order)}
    ranked = [
        RankedRow(
            row=finished[index],
            names=names[finished[index].key],
            rank=None if images.too_few else ranks[index],
            values={name: float(finished[index].pair_scores[name].mean()) for name in BOARD_METRICS},
            intervals={
                name: images.mean(finished[index].pair_scores[name], metric.limits)
                for name, metric in BOARD_METRICS.items()
            },
            seed_intervals={
                name: seed_interval(runs, BOARD_METRICS[name].limits[1])
                for name, runs in finished[index].run_scores.items()
            },
            identity_mace=float(pairs.identity_error.mean()),
            ratio_interval=images.ratio(scores[:, index], pairs.identity_error),
            decided_by_one=images.decided_by_one(scores[:, index]),
        )
        for index in order
    ]
    by_place = {(position[i], position[j]): bounds for (i, j), bounds in better.items()}
    return Ranking(ranked + unfinished, by_place, images)


def seed_interval(scores: Sequence[float], maximum: float = math.inf) -> Interval | None:
    """95 % t-interval of the mean over seeds, cut to [0, ``maximum``]; None for fewer than three seeds."""
    if len(scores) < 3:
        return None
    half = quantile_975(len(scores) - 1) * statistics.stdev(scores) / math.sqrt(len(scores))
    middle = statistics.fmean(scores)
    return max(0.0, middle - half), min(maximum, middle + half)


def significant(scores: Floats, identity: Floats, images: Images) -> dict[tuple[int, int], Interval]:
    """Significantly different columns of ``(N, R)`` scores, which are in ascending order of their means.

    Args:
        scores: ``(N, R)`` ACE of each pair, px.
        identity: ``(N,)`` ACE of doing nothing, px.
        images: of the pairs.

    Returns:
        (better, worse) column numbers, each with the 95 % interval of the difference of their means.
    """
    first, second = np.triu_indices(scores.shape[1], k=1)
    if not len(first):
        return {}
    excess = scores[:, second] - scores[:, first]
    adjusted, intervals = holm(images.p_values(excess)), images.means(excess)
    maces, nothing = scores.mean(axis=0), float(identity.mean())
    return {
        (int(i), int(j)): bounds
        for i, j, p, bounds in zip(first, second, adjusted, intervals, strict=True)
        if p < ALPHA and bounds is not None and outlasts_unseen_failures(images, bounds[0], float(maces[i]), nothing)
    }
