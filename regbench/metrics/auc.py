"""Area under the cumulative error curve up to k pixels, divided by k, in percent.

Papers print this area, although some describe it as the share of pairs below k. Only the area fits their own tables:
k (1 - AUC@k / 100) is the mean of min(ACE, k), which never exceeds MACE and grows with k. SuperGlue and LoFTR evaluate
the area by the trapezoid rule on the sorted errors, which exceeds the exact area by at most 100 / (2N).
"""

from __future__ import annotations

import numpy as np

from regbench.metrics.types import Floats, PairErrors, percent


def auc_scores(errors: PairErrors, k: float) -> Floats:
    """``(N,)`` share of [0, k] that lies above each pair's ACE, in percent; 0 for failed pairs."""
    return 100.0 * np.maximum(0.0, 1.0 - errors.for_auc / k)


def auc(errors: PairErrors, k: float) -> float:
    """AUC@k = 100 mean(max(0, 1 - ACE / k)), the exact area; in [0, 100], higher is better.

    Args:
        errors: errors of the test pairs.
        k: threshold in pixels, > 0.
    """
    return float(auc_scores(errors, k).mean())


@percent
def auc3(errors: PairErrors) -> Floats:
    """AUC@3 in percent."""
    return auc_scores(errors, 3)


@percent
def auc5(errors: PairErrors) -> Floats:
    """AUC@5 in percent."""
    return auc_scores(errors, 5)


@percent
def auc10(errors: PairErrors) -> Floats:
    """AUC@10 in percent."""
    return auc_scores(errors, 10)


@percent
def auc20(errors: PairErrors) -> Floats:
    """AUC@20 in percent."""
    return auc_scores(errors, 20)
