"""Metrics of the average corner error (ACE): the mean distance of the four mapped corners from the truth.

Units are pixels of the source patch, or percent of the test pairs. How failed pairs count is said in
:class:`~regbench.metrics.types.PairErrors`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from regbench.metrics.types import Floats, MeanMetric, MedianMetric, PairErrors

Verdict = Literal["aligned", "collapsed", "diverged"]


@MeanMetric
def mace(errors: PairErrors) -> Floats:
    """Mean ACE in pixels, >= 0; lower is better."""
    return errors.scored


@MedianMetric
def median_ace(errors: PairErrors) -> Floats:
    """Median ACE in pixels, >= 0; lower is better."""
    return errors.scored


@MeanMetric
def worse_than_identity(errors: PairErrors) -> Floats:
    """Percent of pairs whose ACE is larger than that of leaving the images alone; failed pairs are not."""
    return 100.0 * (errors.scored > errors.identity).astype(np.float64)


@MeanMetric
def failed(errors: PairErrors) -> Floats:
    """Percent of pairs without a finite answer."""
    return 100.0 * errors.failed.astype(np.float64)


@MeanMetric
def identity_mace(errors: PairErrors) -> Floats:
    """Mean ACE in pixels of the zero displacement: what doing nothing scores on these pairs."""
    return errors.identity


def verdict(mace: float, identity_mace: float) -> Verdict:
    """Say in a word whether a method learned anything.

    Args:
        mace: mean ACE of the method, px.
        identity_mace: mean ACE of the zero displacement on the same pairs, px.

    Returns:
        ``collapsed`` when the two are within 10 % of each other, ``aligned`` below that, ``diverged`` above
        (or when ``mace`` is not a number).
    """
    if mace < 0.9 * identity_mace:
        return "aligned"
    return "collapsed" if mace <= 1.1 * identity_mace else "diverged"
