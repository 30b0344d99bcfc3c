"""Which rows of a section are better than which, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from regbench.metrics.types import Floats
from regbench.metrics.uncertainty import Bootstrap, Interval, holm, sign_flip
from regbench.report.board import SCORES, Row
from regbench.report.names import Names, names_of

ALPHA = 0.05
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t for 1 to 9 degrees of freedom; the last serves, being wider, for more."""


@dataclass(frozen=True)
class Ranked:
    """A row with its place and its numbers. ``rank`` is None, and the numbers empty, where no run is ok."""

    row: Row
    names: Names
    rank: int | None
    values: dict[str, float]
    """By metric of :data:`~regbench.report.board.SCORES`: mean over seeds and pairs."""
    intervals: dict[str, Interval | None] = field(default_factory=dict)
    """By metric: over test images."""
    seed_intervals: dict[str, Interval | None] = field(default_factory=dict)
    """By metric: over seeds, from three on."""
    identity: float = math.nan
    """MACE of doing nothing, px."""
    ratio_interval: Interval | None = None
    """Of MACE over identity's MACE, over test images."""

    @property
    def ratio(self) -> float:
        """MACE over identity's MACE."""
        return self.values["mace"] / self.identity if self.identity > 0 else math.nan


@dataclass(frozen=True)
class Ranking:
    """The rows of a section in order (rank, then MACE, then name; rows without a finished run last)."""

    rows: list[Ranked]
    better: dict[tuple[int, int], Interval]
    """(i, j): row i is significantly better than row j, with the interval of MACE(j) - MACE(i) in pixels."""


def rank(rows: list[Row]) -> Ranking:
    """Rank the rows of a section by MACE.

    A row is better than another when the paired sign-flip test over images says so after Holm's correction
    over all comparisons of the section and the paired 95 % interval of the difference does not contain zero.
    Its rank is one more than the number of rows better than it: rows nothing separates share a rank.
    """
    names = names_of(rows)
    finished = sorted((row for row in rows if row.finished), key=lambda row: (row.scores["mace"].mean(), row.key))
    unfinished = [Ranked(row, names[row.key], None, {}) for row in rows if not row.finished]
    if not finished:
        return Ranking(unfinished, {})
    pairs = finished[0].finished[0].pairs
    assert pairs is not None
    draws = Bootstrap(pairs.image)
    scores = np.stack([row.scores["mace"] for row in finished], axis=1)  # (N, R)
    beats = _significant(scores, pairs.image, draws)
    ranks = [1 + sum(loser == index for _, loser in beats) for index in range(len(finished))]
    order = sorted(range(len(finished)), key=lambda index: (ranks[index], index))
    place = {index: position for position, index in enumerate(order)}
    ranked = [
        Ranked(
            row=finished[index],
            names=names[finished[index].key],
            rank=ranks[index],
            values={name: float(finished[index].scores[name].mean()) for name in SCORES},
            intervals={name: draws.interval(draws.means(finished[index].scores[name])) for name in SCORES},
            seed_intervals={
                name: seed_interval(runs, math.inf if name == "mace" else 100.0)
                for name, runs in finished[index].by_run.items()
            },
            identity=float(pairs.identity_error.mean()),
            ratio_interval=draws.ratio(scores[:, index], pairs.identity_error),
        )
        for index in order
    ]
    return Ranking(ranked + unfinished, {(place[i], place[j]): bounds for (i, j), bounds in beats.items()})


def seed_interval(scores: Sequence[float], most: float = math.inf) -> Interval | None:
    """95 % t-interval of the mean over seeds, within the range 0 to ``most`` of a score; None for fewer than three."""
    if len(scores) < 3:
        return None
    t = _T975[min(len(scores) - 1, len(_T975)) - 1]
    half = t * statistics.stdev(scores) / math.sqrt(len(scores))
    middle = statistics.fmean(scores)
    return max(0.0, middle - half), min(most, middle + half)


def _significant(scores: Floats, image: ArrayLike, draws: Bootstrap) -> dict[tuple[int, int], Interval]:
    """(winner, loser) to the interval of the loser's excess, for columns in ascending order of their mean."""
    first, second = np.triu_indices(scores.shape[1], k=1)
    if not len(first):
        return {}
    excess = scores[:, second] - scores[:, first]
    adjusted = holm(sign_flip(excess, image))
    means = draws.means(excess)
    found = {}
    for c in np.flatnonzero(adjusted < ALPHA):
        bounds = draws.interval(means[:, c])
        if bounds is not None and bounds[0] > 0:
            found[int(first[c]), int(second[c])] = bounds
    return found
