"""Student's t distribution, for whole degrees of freedom, in numpy alone."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from regbench.metrics.types import Floats


def two_sided_p(t: ArrayLike, degrees: int) -> Floats:
    """P(|T| >= |t|) for T of Student's distribution with ``degrees`` >= 1 degrees of freedom, elementwise.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4, which are exact. The
    error is that of rounding, about 1e-15.
    """
    angle = np.arctan(np.abs(np.asarray(t, dtype=np.float64)) / np.sqrt(degrees))
    cos, sin = np.cos(angle), np.sin(angle)
    odd = degrees % 2
    term = cos if odd else np.ones_like(cos)
    total = np.zeros_like(cos) if degrees == 1 else term
    for k in range(2 + odd, degrees - 1, 2):
        term = term * cos**2 * (k - 1) / k
        total = total + term
    inside = 2.0 / np.pi * (angle + sin * total) if odd else sin * total
    return np.clip(1.0 - inside, 0.0, 1.0)


@functools.cache
def quantile_975(degrees: int) -> float:
    """The t that is exceeded in absolute value with probability 5 %."""
    low, high = 1.9, 13.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, degrees) > 0.05 else (low, middle)
    return (low + high) / 2
