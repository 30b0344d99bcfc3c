"""A logistic model over named features, some of which may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import NamedTuple

from regbench.confidence.features import GROUPS


class Logistic(NamedTuple):
    """A logistic model over features.

    What is not known adds nothing. What is known of a group adds its offset, which is negative, and its features make
    up for that or do not.
    """

    bias: float
    terms: Mapping[str, tuple[float, float, float]]
    """By feature: weight, and the range that a value is clipped to, which is that of the samples it was fitted to."""
    offsets: Mapping[str, float]
    """By group of features."""

    def __call__(self, features: Mapping[str, float]) -> float:
        """Probability in (0, 1)."""
        told = self.bias + sum(self.offsets[group] for group in known_of(features))
        for name, (weight, low, high) in self.terms.items():
            if name in features:
                told += weight * min(max(features[name], low), high)
        return 1.0 / (1.0 + exp(-max(-60.0, min(60.0, told))))


def known_of(features: Mapping[str, float]) -> tuple[str, ...]:
    """The groups of features that are known beside the images."""
    return tuple(group for group, names in GROUPS.items() if names[0] in features)
