"""Metrics of the average corner error (ACE): the mean distance of the four mapped corners from the truth.

Units are pixels of the source patch, or percent of the test pairs. :class:`~regbench.metrics.types.PairErrors` says how
failed pairs count.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from regbench.metrics.types import Floats, MedianMetric, PairErrors, percent, pixels

Verdict = Literal["aligned", "collapsed", "diverged"]
VERDICT_WORDS = {
    "aligned": "better than doing nothing",
    "collapsed": "no better than doing nothing",
    "diverged": "worse than doing nothing",
}
"""How a verdict is shown to people: ``aligned`` does not say that the images are aligned well."""


@pixels
def mace(errors: PairErrors) -> Floats:
    """Mean ACE in pixels, >= 0; lower is better."""
    return errors.scored


@MedianMetric
def median_ace(errors: PairErrors) -> Floats:
    """Median ACE in pixels, >= 0; lower is better."""
    return errors.scored


@percent
def worse_than_identity(errors: PairErrors) -> Floats:
    """Percent of pairs whose ACE is larger than that of the zero displacement; failed pairs do not count as worse."""
    return 100.0 * (errors.scored > errors.identity).astype(np.float64)


@percent
def failed(errors: PairErrors) -> Floats:
    """Percent of pairs without a finite answer."""
    return 100.0 * errors.failed.astype(np.float64)


@pixels
def identity_mace(errors: PairErrors) -> Floats:
    """Mean ACE in pixels of the zero displacement, which stands for doing nothing."""
    return errors.identity


def verdict(mace: float, identity_mace: float) -> Verdict:
    """Whether a method aligns better than the zero displacement, in one word.

    Args:
        mace: mean ACE of the method, px.
        identity_mace: mean ACE of the zero displacement on the same pairs, px.

    Returns:
        ``aligned`` when ``mace`` is below 0.9 times ``identity_mace``, ``diverged`` when it is above 1.1 times (or not
        a number), ``collapsed`` in between.
    """
    if mace < 0.9 * identity_mace:
        return "aligned"
    return "collapsed" if mace <= 1.1 * identity_mace else "diverged"
