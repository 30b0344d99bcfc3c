"""Agreement of two lists of numbers on the order of the same methods, with its uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regbench.metrics.types import Floats, Ints
from regbench.metrics.uncertainty import Images, Interval

DRAWS, SEED = 2000, 0
ENOUGH = 5
"""Fewest methods for which agreement is claimed. Four agree perfectly by chance in 1 of 24 cases, five in 1 of 120."""


class Agreement(NamedTuple):
    """Kendall's tau-b of our scores with another list's."""

    tau: float
    interval: Interval | None
    methods: int

    @property
    def claimed(self) -> bool:
        """Whether the orders may be called alike, or opposite: enough methods, and an interval without zero."""
        return self.methods >= ENOUGH and self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def kendall_tau_b(a: ArrayLike, b: ArrayLike, weight: ArrayLike | None = None) -> Floats:
    """Kendall's tau-b along the last axis: 1 for the same order, -1 for the opposite one, ties taken into account.

    Args:
        a: ``(..., M)`` numbers of M methods.
        b: ``(..., M)`` the numbers of the same methods in the other list.
        weight: ``(..., M)`` how often each method counts; default once. A method is tied with its own copies.

    Returns:
        ``(...)`` in [-1, 1]; 0 where all numbers of a list are tied.

    Source: M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    i, j = np.triu_indices(a.shape[-1], k=1)
    w = np.ones(a.shape[-1]) if weight is None else np.asarray(weight, dtype=np.float64)
    pairs = w[..., i] * w[..., j]
    x, y = np.sign(a[..., i] - a[..., j]), np.sign(b[..., i] - b[..., j])
    agreeing = (pairs * x * y).sum(axis=-1)
    scale = np.sqrt((pairs * x**2).sum(axis=-1) * (pairs * y**2).sum(axis=-1))
    return np.divide(agreeing, scale, out=np.zeros_like(scale), where=scale > 0)


def agreement(scores: Floats, image: ArrayLike, other: ArrayLike) -> Agreement:
    """Compare the order of M methods by their mean score on our pairs with their order in another list.

    The percentile bootstrap resamples test images and methods together, because a handful of methods says little about
    the order of methods in general, however many images there are.

    Args:
        scores: ``(N, M)`` score of each pair.
        image: ``(N,)`` number of the image of each pair.
        other: ``(M,)`` numbers of the other list; larger means worse in both lists, or better in both.
    """
    images, methods = Images(image), scores.shape[1]
    other = np.asarray(other, dtype=np.float64)
    tau = float(kendall_tau_b(scores.mean(axis=0), other))
    if images.count < 2:
        return Agreement(tau=tau, interval=None, methods=methods)
    drawn_images = _times_drawn(images.count, SEED)
    sums = np.zeros((images.count, methods))
    np.add.at(sums, images.group, scores)
    means = (drawn_images @ sums) / (drawn_images @ images.sizes)[:, None]
    taus = kendall_tau_b(means, np.broadcast_to(other, (DRAWS, methods)), _times_drawn(methods, SEED + 1))
    low, high = np.percentile(taus, [2.5, 97.5])
    return Agreement(tau=tau, interval=(float(low), float(high)), methods=methods)


def _times_drawn(count: int, seed: int) -> Ints:
    """``(DRAWS, count)`` how often each of ``count`` things is in each bootstrap draw.

    From ``RandomState``, whose stream numpy promises never to change: a committed board must rebuild to the byte.
    """
    drawn = np.random.RandomState(seed).randint(0, count, size=(DRAWS, count), dtype=np.int64)
    drawn += count * np.arange(DRAWS)[:, None]
    return np.bincount(drawn.ravel(), minlength=DRAWS * count).reshape(DRAWS, count)
