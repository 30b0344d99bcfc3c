"""The reliability diagram: how often answers of a confidence are right."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regbench.confidence.fitting import BINS, calibration_error
from regbench.report.figures.style import COLOURS, figure_with_axes

Floats = NDArray[np.float64]


def reliability_diagram(confidence: Floats, right: Floats, heading: str) -> Figure:
    """Share of right answers against confidence, in bins of equal width (Guo et al., ICML 2017).

    Args:
        confidence: ``(N,)`` in [0, 1].
        right: ``(N,)``, 1 for right answers, 0 for others.
        heading: what the answers are; the number of answers and the calibration error stand after it.

    Returns:
        The figure. A number beside a point is that of the bin's answers.
    """
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = np.unique(which)
    told = f"{len(right)} answers, expected calibration error {calibration_error(confidence, right):.3f}"
    figure, axes = figure_with_axes(f"{heading}: {told}")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--", label="as often right as the confidence says")
    rows = [(confidence[which == b].mean(), right[which == b].mean(), *interval(right[which == b])) for b in bins]
    mean, share, low, high = np.array(rows).T
    bars = [share - low, high - share]
    axes.errorbar(mean, share, bars, marker="o", color=COLOURS[0], capsize=2, label="answers, 95 % interval")
    for b, x, y in zip(bins, mean, low, strict=True):
        axes.annotate(str((which == b).sum()), (x, y), (4, -9), textcoords="offset points", fontsize=7)
    axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(-0.02, 1.02), ylim=(-0.05, 1.04))
    axes.legend(fontsize=8, loc="upper left")
    return figure


def interval(right: Floats) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, JASA 22, 1927)."""
    n, share, z = len(right), float(right.mean()), 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
