"""Uncertainty: intervals and tests over independent images.

The errors of pairs from one image are correlated, so images, not pairs, are the independent units. (An image stands for
a scene or a camera where a data set has several images of one.) Intervals and tests tell how a result would vary over
test images for the given networks; neither covers training again with another seed.

Every quantity is reduced to one deviation per image, whose mean is the deviation of the quantity from its true value:
exact for means over pairs, linearised for ratios, from the jackknife for any other metric. The studentised mean of the
deviations is corrected for their skewness by Hall's transformation and compared with Student's t. Nothing is drawn at
random, so no number of a board depends on a seed.

Source: P. Hall, On the removal of skewness by transformation, J. R. Statist. Soc. B 54 (1992). ``docs/statistics.md``
shows by simulation where the intervals cover and what the tests hold; ``benchmarks/coverage.py`` repeats it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from regbench.metrics.student import quantile_975, two_sided_p
from regbench.metrics.types import Floats, Ints, MeanMetric, MedianMetric, Metric, PairErrors

LEAST_IMAGES = 28
"""Fewest images for an interval or an order. Of 28 images, 8 % of which a method fails on, one in ten test sets shows
none that fails (0.92^28 = 0.1), and nothing that is computed from it can know of them."""
DECIDED_BY_ONE = 0.8
"""Share of the variance from which on one image decides a mean, so that no interval is given."""
UNSEEN = 3.0
"""Up to 3 / n of all images may be of a kind that n images do not show (95 %, the rule of three)."""

Interval = tuple[float, float]
UNLIMITED: Interval = (-math.inf, math.inf)


class Images:
    """The independent images of a list of pairs, and the intervals and tests over them.

    Args:
        image: ``(N,)`` number of the image of each pair.

    Attributes:
        count: number of images.
        effective: the number of images of equal size that would be as informative, ``(sum n)^2 / sum n^2`` with n pairs
            of an image (Kish 1965), rounded.
    """

    def __init__(self, image: ArrayLike) -> None:
        self.group: Ints = np.unique(np.asarray(image), return_inverse=True)[1].astype(np.int64)
        self.sizes = np.bincount(self.group)
        self.count = len(self.sizes)
        self.effective = round(float(self.sizes.sum()) ** 2 / float((self.sizes**2).sum()))

    @property
    def too_few(self) -> str:
        """Why no interval is given and no order claimed, whatever the scores; empty where there are enough images."""
        if self.effective >= LEAST_IMAGES:
            return ""
        unequal = f", which count as {self.effective} of equal size" if self.effective < self.count else ""
        return f"{self.count} independent image{'s' * (self.count != 1)}{unequal}; fewer than {LEAST_IMAGES}"

    @property
    def unseen(self) -> float:
        """Share of images of a kind that may not be among these, in [0, 1] (95 %)."""
        return min(1.0, UNSEEN / self.effective)

    def mean(self, scores: Floats, limits: Interval = UNLIMITED) -> Interval | None:
        """95 % interval of the mean over pairs of ``(N,)`` scores, cut to ``limits``."""
        return self.means(scores[:, None], limits)[0]

    def means(self, scores: Floats, limits: Interval = UNLIMITED) -> list[Interval | None]:
        """95 % intervals of the means over pairs of ``(N, C)`` scores, cut to ``limits``."""
        return self._intervals(scores.mean(axis=0), self._deviations(scores), limits)

    def ratio(self, a: Floats, b: Floats) -> Interval | None:
        """95 % interval of mean(a) / mean(b), at least 0, for two ``(N,)`` scores >= 0 of the same pairs."""
        if not b.mean() > 0:
            return None
        ratio = a.mean() / b.mean()
        deviations = self._sums(a - ratio * b) / b.sum() * self.count
        return self._intervals(np.array([ratio]), deviations[:, None], (0.0, math.inf))[0]

    def median(self, scores: Floats) -> Interval | None:
        """95 % interval of the median over pairs of ``(N,)`` scores: the quantiles at the ends of that of its rank.

        Source: R. S. Woodruff, Confidence intervals for medians and other position measures, J. Am. Statist. Assoc. 47
        (1952).
        """
        below = (scores < np.median(scores)) + 0.5 * (scores == np.median(scores))
        ranks = self.mean(below.astype(np.float64), (0.0, 1.0))
        if ranks is None:
            return None
        low, high = np.quantile(scores, ranks)
        return float(low), float(high)

    def metric(self, metric: Metric, errors: PairErrors) -> Interval | None:
        """95 % interval of a metric; that of an unknown function is from the jackknife over images."""
        if isinstance(metric, MedianMetric):
            return self.median(metric.per_pair(errors))
        if isinstance(metric, MeanMetric):
            return self.mean(metric.per_pair(errors), metric.limits)
        if self.too_few:
            return None
        without = np.array([float(metric(errors.subset(self.group != image))) for image in range(self.count)])
        deviations = (self.count - 1) * (without.mean() - without)
        return self._intervals(np.array([float(metric(errors))]), deviations[:, None], UNLIMITED)[0]

    def p_values(self, differences: Floats) -> Floats:
        """``(C,)`` two-sided p-values of mean differences of zero, for ``(N, C)`` differences of paired scores.

        The larger of those of Student's t and of Hall's: the first holds for symmetric and for heavy-tailed
        differences, the second for skewed ones. 1 for a column without spread.
        """
        value, deviations = differences.mean(axis=0), self._deviations(differences)
        error, bias = _error_and_skewness(deviations)
        spread = _spreads(error, value)
        t = np.divide(value, error, out=np.zeros_like(value), where=spread)
        hall = t + bias * t**2 / 3 + bias**2 * t**3 / 27 + bias / 6
        p = np.maximum(two_sided_p(t, self._degrees), two_sided_p(hall, self._degrees))
        return np.where(spread, p, 1.0)

    def decided_by_one(self, scores: Floats) -> bool:
        """Whether one image makes up four fifths of the variance of the mean of ``(N,)`` scores."""
        squares = self._deviations(scores[:, None]) ** 2
        return bool(squares.max() > DECIDED_BY_ONE * squares.sum())

    @property
    def _degrees(self) -> int:
        """Degrees of freedom of Student's t."""
        return max(1, self.effective - 1)

    def _deviations(self, scores: Floats) -> Floats:
        """``(images, C)`` deviations of ``(N, C)`` scores; their mean is zero at the mean over pairs."""
        return self._sums(scores - scores.mean(axis=0)) * (self.count / len(scores))

    def _sums(self, scores: Floats) -> Floats:
        """Sum of each image's scores: ``(N, ...)`` to ``(images, ...)``."""
        sums = np.zeros((self.count, *scores.shape[1:]))
        np.add.at(sums, self.group, scores)
        return sums

    def _intervals(self, value: Floats, deviations: Floats, limits: Interval) -> list[Interval | None]:
        """Intervals of C quantities from ``(C,)`` values and ``(images, C)`` deviations.

        None with too few images, where images do not differ, or where one of them decides.
        """
        if self.too_few:
            return [None] * len(value)
        error, bias = _error_and_skewness(deviations)
        squares = deviations**2
        known = _spreads(error, value) & (squares.max(axis=0) <= DECIDED_BY_ONE * squares.sum(axis=0))
        low, high = (value - error * _hall_inverse(sign * quantile_975(self._degrees), bias) for sign in (1, -1))
        low, high = np.clip(low, *limits), np.clip(high, *limits)
        return [(float(a), float(b)) if ok else None for a, b, ok in zip(low, high, known, strict=True)]


def outlasts_unseen_failures(images: Images, margin: float, better: float, identity: float) -> bool:
    """Whether a lead would last if the better method did nothing on all images of a kind not shown here.

    Args:
        images: the test images.
        margin: lower end of the interval of the difference, px.
        better: MACE of the better method, px.
        identity: MACE of doing nothing, px.
    """
    return margin > images.unseen * max(0.0, identity - better)


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


def compare(a: PairErrors, b: PairErrors) -> tuple[float, Interval | None, float]:
    """Compare two methods on the same manifest.

    Returns:
        MACE of ``a`` minus MACE of ``b`` in px, its paired 95 % interval, and the p-value of no difference.

    Raises:
        ValueError: the two were not evaluated on the same pairs.
    """
    if not (np.array_equal(a.image, b.image) and np.allclose(a.identity, b.identity, rtol=1e-4)):
        raise ValueError("the two methods were not evaluated on the same test pairs")
    images, difference = Images(a.image), (a.scored - b.scored)[:, None]
    return float(difference.mean()), images.means(difference)[0], float(images.p_values(difference)[0])


def _error_and_skewness(deviations: Floats) -> tuple[Floats, Floats]:
    """Standard error of the mean of ``(n, C)`` deviations, and their skewness over the square root of n."""
    n = len(deviations)
    centred = deviations - deviations.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    third = (centred**3).mean(axis=0)
    skewness = np.divide(third, variance**1.5, out=np.zeros_like(third), where=variance > 0)
    unbiased = math.sqrt(n * (n - 1)) / (n - 2) if n > 2 else 0.0
    return np.sqrt(variance / max(1, n - 1)), unbiased * skewness / math.sqrt(n)


def _hall_inverse(x: float, bias: Floats) -> Floats:
    """The studentised mean that Hall's cubic transformation takes to ``x``."""
    curved = np.where(np.abs(bias) < 1e-6, 1.0, bias)  # straight in the limit
    return np.where(curved == bias, 3.0 / curved * (np.cbrt(1.0 + curved * (x - curved / 6.0)) - 1.0), x)


def _spreads(error: Floats, value: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether a standard error is more than rounding."""
    return error > 1e-12 * np.maximum(1.0, np.abs(value))
