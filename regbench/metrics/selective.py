"""Failures found by confidence: the error of the answers that are kept when the least confident ones are dropped.

The risk of a set of answers is their MACE. Coverage c keeps the share c of all pairs that is most confident; the curve
of risk over coverage starts at MACE (c = 1), falls where low confidence finds large errors, and is flat where
confidence tells nothing. AURC is its mean over all coverages, in pixels.

Source: Geifman and El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017; AURC and its excess over
the best order: Geifman, Uziel and El-Yaniv, ICLR 2019; for uncertainty estimates: Ding et al., CVPR Workshops 2020.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from regbench.metrics.types import Floats, Ints, Metric, PairErrors

TRUSTED = 0.5
"""Confidence from which on an answer is called trusted."""


def risks(errors: PairErrors) -> Floats:
    """``(N,)`` px: entry k - 1 is the MACE of the k most confident pairs; failed pairs score as in MACE.

    Pairs of equal confidence count with their mean error, so that their order does not matter.
    """
    confidence = errors.confidence
    if confidence is None:
        raise ValueError("these pairs have no confidence")
    _, level, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    means = np.bincount(level, weights=errors.scored) / sizes
    return _running_mean(np.sort(level), means)


def aurc(errors: PairErrors) -> float:
    """Area under the risk-coverage curve, px: MACE where confidence tells nothing, less where it finds failures."""
    return float(risks(errors).mean())


def excess_aurc(errors: PairErrors) -> float:
    """AURC less that of the best order (by the errors themselves), px: 0 where confidence orders answers perfectly."""
    best = np.sort(errors.scored).cumsum() / np.arange(1, len(errors) + 1)
    return aurc(errors) - float(best.mean())


def trusted(errors: PairErrors) -> float:
    """Percent of the pairs with a confidence of :data:`TRUSTED` or more."""
    assert errors.confidence is not None
    return 100.0 * float((errors.confidence >= TRUSTED).mean())


def trusted_mace(errors: PairErrors) -> float:
    """MACE in px of the pairs with a confidence of :data:`TRUSTED` or more; nan where there are none."""
    assert errors.confidence is not None
    kept = errors.scored[errors.confidence >= TRUSTED]
    return float(kept.mean()) if len(kept) else float("nan")


def at_coverage(errors: PairErrors, share: float) -> float:
    """MACE in px of the most confident ``share`` of the pairs (of one pair at least)."""
    return float(risks(errors)[max(1, round(share * len(errors))) - 1])


SELECTIVE: Mapping[str, Metric] = {"aurc": aurc, "excess_aurc": excess_aurc, "trusted": trusted}
"""Metrics of runs whose pairs have confidences."""


def _running_mean(level: Ints, means: Floats) -> Floats:
    return means[level].cumsum() / np.arange(1, len(level) + 1)
