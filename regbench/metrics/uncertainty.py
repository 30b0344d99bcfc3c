"""Uncertainty: intervals and tests that resample test images.

The errors of pairs from one image are correlated, so images, not pairs, are the independent units: the bootstrap draws
images with replacement (cluster bootstrap), and the test flips the sign of whole images. Both tell how a result would
vary over test images for the given networks; neither covers training again with another seed.

Every function is pure: its random numbers come from a fixed seed through ``RandomState``, whose stream numpy promises
never to change (unlike that of ``Generator``), because a committed board must rebuild to the byte.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from regbench.metrics.types import Floats, Ints, MeanMetric, MedianMetric, Metric, PairErrors

DRAWS = 2000
"""Number of bootstrap draws of an interval."""
FLIPS = 99_999
"""Number of random sign patterns of a test. The smallest p-value, 1 / (FLIPS + 1), survives Holm over 5000 tests."""
SEED = 0

Interval = tuple[float, float]


class Bootstrap:
    """Bootstrap draws of test images. All intervals computed from one object use the same draws, so they are paired.

    Args:
        image: ``(N,)`` number of the image of each pair.
        draws: number of bootstrap draws.
    """

    def __init__(self, image: ArrayLike, draws: int = DRAWS) -> None:
        self.group = _groups(image)
        self.images = int(self.group.max()) + 1
        self.draws = draws

    @cached_property
    def counts(self) -> Ints:
        """``(draws, images)`` how often each draw contains each image."""
        stream = np.random.RandomState(SEED)
        drawn = stream.randint(0, self.images, size=(self.draws, self.images), dtype=np.int64)
        drawn += self.images * np.arange(self.draws)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=self.draws * self.images)
        return counts.reshape(self.draws, self.images)

    def means(self, scores: Floats) -> Floats:
        """Mean over pairs in every draw: ``(N,)`` or ``(N, C)`` scores to ``(draws,)`` or ``(draws, C)``."""
        total = self.counts @ _sums(scores, self.group)
        pairs = self.counts @ np.bincount(self.group)
        return total / (pairs if scores.ndim == 1 else pairs[:, None])

    def medians(self, scores: Floats) -> Floats:
        """Median over pairs in every draw: ``(N,)`` scores to ``(draws,)``."""
        order = np.argsort(scores, kind="stable")
        ascending, group = scores[order], self.group[order]
        medians = np.empty(self.draws)
        for start in range(0, self.draws, 250):  # some draws at a time, which keeps memory small for many pairs
            rank = np.cumsum(self.counts[start : start + 250, group], axis=1)
            total = rank[:, -1:]
            low = np.argmax(rank > (total - 1) // 2, axis=1)
            high = np.argmax(rank > total // 2, axis=1)
            medians[start : start + 250] = (ascending[low] + ascending[high]) / 2.0
        return medians

    def values(self, metric: Metric, errors: PairErrors) -> Floats:
        """``(draws,)`` values of a metric in every draw; fast for means and medians, else one call for each draw."""
        if isinstance(metric, MedianMetric):
            return self.medians(metric.per_pair(errors))
        if isinstance(metric, MeanMetric):
            return self.means(metric.per_pair(errors))
        order = np.argsort(self.group, kind="stable")
        repeats = self.counts[:, self.group[order]]
        return np.array([float(metric(errors.subset(np.repeat(order, times)))) for times in repeats])

    def interval(self, values: Floats) -> Interval | None:
        """95 % percentile interval of ``(draws,)`` values; None for a single image or values that are not finite."""
        if self.images < 2 or not np.isfinite(values).all():
            return None
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)

    def difference(self, a: Floats, b: Floats) -> Interval | None:
        """95 % interval of mean(a) - mean(b), for two ``(N,)`` scores of the same pairs."""
        return self.interval(self.means(a - b))

    def ratio(self, a: Floats, b: Floats) -> Interval | None:
        """95 % interval of mean(a) / mean(b), for two ``(N,)`` scores of the same pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.interval(self.means(a) / self.means(b))


def sign_flip(differences: Floats, image: ArrayLike, flips: int = FLIPS) -> Floats:
    """Paired sign-flip permutation test, over images, of the hypothesis that mean differences are zero.

    Under this hypothesis the difference of two methods on an image has either sign with the same probability.

    Args:
        differences: ``(N, C)`` score of one method minus that of another on each pair, for C comparisons.
        image: ``(N,)`` number of the image of each pair.
        flips: number of random sign patterns.

    Returns:
        ``(C,)`` two-sided p-values in (0, 1]. With n images no p-value is below about 2 / 2^n, so four images cannot
        separate anything.
    """
    sums = _sums(differences, _groups(image))
    observed = np.abs(sums.sum(axis=0)) - 1e-9 * np.abs(sums).sum(axis=0)  # equal sums differ by rounding
    stream = np.random.RandomState(SEED)
    at_least_observed = np.ones(sums.shape[1])  # the observed pattern counts, too
    for start in range(0, flips, 8192):
        rows = min(8192, flips - start)
        bits = np.frombuffer(stream.bytes(rows * ((len(sums) + 7) // 8)), dtype=np.uint8).reshape(rows, -1)
        signs = 2.0 * np.unpackbits(bits, axis=1, count=len(sums)) - 1.0
        at_least_observed += (np.abs(signs @ sums) >= observed).sum(axis=0)
    return at_least_observed / (flips + 1)


def compare(a: PairErrors, b: PairErrors) -> tuple[float, Interval | None, float]:
    """Compare two methods on the same manifest.

    Returns:
        MACE of ``a`` minus MACE of ``b`` in px, its paired 95 % interval, and the p-value of no difference.

    Raises:
        ValueError: the two were not evaluated on the same pairs.
    """
    if not (np.array_equal(a.image, b.image) and np.allclose(a.identity, b.identity, rtol=1e-4)):
        raise ValueError("the two methods were not evaluated on the same test pairs")
    difference = a.scored - b.scored
    p = sign_flip(difference[:, None], a.image)[0]
    return float(difference.mean()), Bootstrap(a.image).difference(a.scored, b.scored), float(p)


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjustment: ``(C,)`` p-values to adjusted ones, for a family-wise error rate.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def _groups(image: ArrayLike) -> Ints:
    """Image numbers replaced by consecutive numbers from 0, in the same order."""
    return np.unique(np.asarray(image), return_inverse=True)[1].astype(np.int64)


def _sums(scores: Floats, group: Ints) -> Floats:
    """Sum of each image's scores: ``(N, ...)`` to ``(images, ...)``."""
    sums = np.zeros((int(group.max()) + 1, *scores.shape[1:]))
    np.add.at(sums, group, scores)
    return sums
