"""The reliability diagram shows how often answers of a confidence are right, and how sure that is."""

import numpy as np
import pytest

from regbench.report.figures.reliability import interval, reliability_diagram


def test_points_are_the_shares_of_the_bins():
    confidence = np.array([0.02, 0.04, 0.52, 0.58, 0.55, 0.55, 1.0])
    right = np.array([0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    axes = reliability_diagram(confidence, right, "drawn").axes[0]
    assert axes.get_title().startswith("drawn: 7 answers, expected calibration error 0.")
    points = axes.lines[1].get_xydata()
    np.testing.assert_allclose(points, [[0.03, 0.5], [0.55, 0.75], [1.0, 1.0]])
    assert [text.get_text() for text in axes.texts] == ["2", "4", "1"]


def test_the_interval_is_wilsons():
    assert interval(np.array([1.0, 0.0] * 5)) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = interval(np.ones(10))
    assert high == 1
    assert low == pytest.approx(0.7225, abs=1e-4)
