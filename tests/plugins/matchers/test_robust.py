"""The robust step of matchers and its test against chance."""

from __future__ import annotations

from math import comb, log10, pi

import numpy as np
import pytest

from regbench_matchers.blocks.robust import RobustConfig, expected_by_chance, robust_homography

SIZE = (64, 64)


@pytest.mark.parametrize(("inliers", "matches"), [(5, 9), (12, 40), (40, 60)])
def test_number_of_false_alarms_is_moisan_and_stivals(inliers, matches):
    p = pi * 9 / (64 * 64)
    direct = (matches - 4) * comb(matches, inliers) * comb(inliers, 4) * p ** (inliers - 4)
    assert expected_by_chance(inliers, matches, 3.0, SIZE) == pytest.approx(log10(direct))


def test_four_points_prove_nothing():
    assert expected_by_chance(4, 100, 3.0, SIZE) == float("inf")
    assert expected_by_chance(4, 4, 3.0, SIZE) == float("inf")


@pytest.mark.parametrize("count", [20, 100, 400])
def test_matches_thrown_at_random_are_explained_by_chance(count):
    points = np.random.default_rng(count).uniform(0, 63, (20, 2, count, 2))
    for source, target in points:
        solved = robust_homography(source, target, RobustConfig())
        if solved is not None:
            assert expected_by_chance(solved.inliers, count, 3.0, SIZE) > 0


def test_a_true_homography_among_as_many_false_matches_is_not():
    generator = np.random.default_rng(0)
    source = generator.uniform(0, 63, (100, 2))
    target = np.concatenate([source[:40] + np.array([3.0, -2.0]), generator.uniform(0, 63, (60, 2))])
    found = robust_homography(source, target, RobustConfig())
    assert found is not None
    assert expected_by_chance(found.inliers, 100, 3.0, SIZE) < -5
