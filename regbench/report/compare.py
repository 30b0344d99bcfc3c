"""Two runs on the same test pairs: how far apart, how sure, and where."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regbench.errors import UsageError
from regbench.metrics.types import Floats
from regbench.metrics.uncertainty import Images, Interval, compare, outlasts_unseen_failures
from regbench.report.board import StoredRun
from regbench.report.ranking import ALPHA
from regbench.report.table import range_in_words, with_interval


@dataclass(frozen=True)
class Difference:
    """The errors of two runs on one test pair."""

    pair: int
    """Number of the pair in the manifest."""
    image: int
    """Number of the test image."""
    a: float
    """ACE of the first run in px; that of identity where the run failed."""
    b: float
    """ACE of the second run, likewise."""


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of a first run (a) with a second one (b)."""

    mace_a: float
    mace_b: float
    difference: float
    """MACE of a minus MACE of b, px."""
    interval: Interval | None
    """95 % interval of the difference over test images, px."""
    p: float
    """p-value of the paired test over images."""
    effect: float | None
    """Cohen's d of the mean differences of images (mean over standard deviation); None where they do not vary."""
    nearer: float
    """Percent of the pairs on which a has the smaller error; ties count half."""
    nearer_interval: Interval | None
    """95 % interval of ``nearer`` over test images."""
    pairs: int
    """Number of test pairs."""
    images: int
    """Number of test images."""
    too_few: str
    """Why these images allow no interval and no order; empty where they do."""
    lasting: bool
    """Whether the lead would last if the better run did nothing on all images of a kind that may be unseen."""
    largest: list[Difference]
    """The pairs on which the runs differ most, the largest difference first."""

    @property
    def separated(self) -> bool:
        """Whether an order may be claimed: the test is significant, the interval without zero, and the lead lasting."""
        apart_from_zero = self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)
        return self.p < ALPHA and apart_from_zero and self.lasting

    @property
    def statement(self) -> str:
        """The comparison in one sentence that claims no more than the interval allows."""
        if not self.separated or self.interval is None:
            why = f" (no interval: {self.too_few})" if self.too_few else ""
            return f"Not separated: MACE of A minus B is {with_interval(self.difference, self.interval)} px{why}."
        better, bounds = ("B", self.interval) if self.difference > 0 else ("A", (-self.interval[1], -self.interval[0]))
        return f"{better} is better by {range_in_words(bounds)} px."

    def as_json(self) -> dict[str, Any]:
        """All fields, ``separated`` and ``statement``, for scripts."""
        return asdict(self) | {"separated": self.separated, "statement": self.statement}


def compare_runs(a: StoredRun, b: StoredRun, largest: int = 6) -> Comparison:
    """Compare two finished runs.

    Args:
        a: the first run.
        b: the second run.
        largest: number of pairs listed in :attr:`Comparison.largest`.

    Raises:
        UsageError: the runs were not judged on the same test pairs.
    """
    assert a.pairs is not None
    assert b.pairs is not None
    manifests = [run.result.identity.test_dataset.manifest_sha256 for run in (a, b)]
    same_truth = np.array_equal(a.pairs.displacement, b.pairs.displacement)
    if manifests[0] != manifests[1] or not same_truth or not np.array_equal(a.pairs.image, b.pairs.image):
        raise UsageError(
            f"{a.result.run_id} and {b.result.run_id} were not judged on the same test pairs (manifests "
            f"{manifests[0][:12]} and {manifests[1][:12]}); evaluate one of them on the other's data"
        )
    first, second = a.pairs.errors, b.pairs.errors
    value, bounds, p = compare(first, second)
    excess = first.scored - second.scored
    nearer = 50.0 * (1.0 - np.sign(excess))
    images = Images(first.image)
    maces = float(first.scored.mean()), float(second.scored.mean())
    margin = min(map(abs, bounds)) if bounds else 0.0
    most = np.argsort(-np.abs(excess), kind="stable")[:largest]
    return Comparison(
        mace_a=maces[0],
        mace_b=maces[1],
        difference=value,
        interval=bounds,
        p=p,
        effect=_cohens_d(excess, images),
        nearer=float(nearer.mean()),
        nearer_interval=images.mean(nearer, (0.0, 100.0)),
        pairs=len(first),
        images=images.count,
        too_few=images.too_few,
        lasting=outlasts_unseen_failures(images, margin, min(maces), float(first.identity.mean())),
        largest=[
            Difference(pair=int(i), image=int(first.image[i]), a=float(first.scored[i]), b=float(second.scored[i]))
            for i in most
        ],
    )


def _cohens_d(excess: Floats, images: Images) -> float | None:
    """Cohen's d of the mean of each image over ``(N,)`` differences; None where the means do not vary."""
    means = np.bincount(images.group, weights=excess) / np.bincount(images.group)
    spread = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    return float(means.mean()) / spread if spread > 1e-12 else None
