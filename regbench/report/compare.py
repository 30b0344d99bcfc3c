"""Two runs on the same test pairs: how far apart, how sure, and where."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regbench.errors import UsageError
from regbench.metrics.uncertainty import Bootstrap, Interval, compare
from regbench.report.board import Entry
from regbench.report.ranking import ALPHA
from regbench.report.render.tables import apart, interval, number


@dataclass(frozen=True)
class Difference:
    """A pair of the test set on which the two runs differ."""

    pair: int
    """Number in the manifest."""
    image: int
    a: float
    """ACE of the first run, px; identity's where it failed."""
    b: float
    """ACE of the second."""


@dataclass(frozen=True)
class Comparison:
    """The first run (a) against the second (b), paired."""

    mace_a: float
    mace_b: float
    difference: float
    """MACE of a minus MACE of b, px."""
    interval: Interval | None
    """95 %, over test images."""
    p: float
    """Of the paired sign-flip test over images."""
    effect: float | None
    """Cohen's d of the mean differences of images (mean over standard deviation); None where they do not vary."""
    nearer: float
    """Percent of the pairs on which a has the smaller error; ties count half."""
    nearer_interval: Interval | None
    """95 %, over test images."""
    pairs: int
    images: int
    largest: list[Difference]
    """Where they differ most, the largest difference first."""

    @property
    def separated(self) -> bool:
        """Whether an order may be claimed: the test says so, and the interval does not contain zero."""
        apart_from_zero = self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)
        return self.p < ALPHA and apart_from_zero

    @property
    def statement(self) -> str:
        """The comparison in one sentence that claims no more than the interval allows."""
        if not self.separated or self.interval is None:
            return f"Not separated: MACE of A minus B is {number(self.difference)} {interval(self.interval)} px."
        better, bounds = ("B", self.interval) if self.difference > 0 else ("A", (-self.interval[1], -self.interval[0]))
        return f"{better} is better by {apart(bounds)} px."

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts."""
        return asdict(self) | {"separated": self.separated, "statement": self.statement}


def compare_runs(a: Entry, b: Entry, largest: int = 6) -> Comparison:
    """Compare two finished runs.

    Args:
        a: the first.
        b: the second.
        largest: how many pairs to name on which they differ most.

    Raises:
        UsageError: they were not judged on the same test pairs.
    """
    assert a.pairs is not None
    assert b.pairs is not None
    manifests = [entry.result.identity.test_dataset.manifest_sha256 for entry in (a, b)]
    same = np.array_equal(a.pairs.displacement, b.pairs.displacement)
    if manifests[0] != manifests[1] or not same or not np.array_equal(a.pairs.image, b.pairs.image):
        raise UsageError(
            f"{a.result.run_id} and {b.result.run_id} were not judged on the same test pairs (manifests "
            f"{manifests[0][:12]} and {manifests[1][:12]}); evaluate one of them on the other's data"
        )
    first, second = a.pairs.errors, b.pairs.errors
    value, bounds, p = compare(first, second)
    excess = first.scored - second.scored
    nearer = 50.0 * (1.0 - np.sign(excess))
    draws = Bootstrap(first.image)
    most = np.argsort(-np.abs(excess), kind="stable")[:largest]
    return Comparison(
        mace_a=float(first.scored.mean()),
        mace_b=float(second.scored.mean()),
        difference=value,
        interval=bounds,
        p=p,
        effect=_cohen(excess, draws),
        nearer=float(nearer.mean()),
        nearer_interval=draws.interval(draws.means(nearer)),
        pairs=len(first),
        images=draws.images,
        largest=[
            Difference(int(i), int(first.image[i]), float(first.scored[i]), float(second.scored[i])) for i in most
        ],
    )


def _cohen(excess: Any, draws: Bootstrap) -> float | None:
    means = np.bincount(draws.group, weights=excess) / np.bincount(draws.group)
    spread = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    return float(means.mean()) / spread if spread > 1e-12 else None
