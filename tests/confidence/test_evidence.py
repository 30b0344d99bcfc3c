"""The measurements behind a confidence, against plain forms."""

import math

import cv2
import numpy as np
import pytest
import torch

from regbench.confidence import evidence, shape
from regbench.confidence.laid import Laid, corners_of, grey_of, lay, moved
from regbench.ops.edges import edge_agreement, edge_field
from tests.confidence.scenes import SIZE, homography, shifted, unaligned


def test_correlation_is_the_edge_agreement_of_shifted_copies():
    """Against :func:`edge_agreement` with the mask of what both show."""
    generator = torch.Generator().manual_seed(0)
    first, second = (edge_field(torch.rand(1, 1, 40, 52, generator=generator)) for _ in range(2))
    seen, valid = ((torch.rand(1, 1, 40, 52, generator=generator) > 0.2).float() for _ in range(2))
    scores, common = evidence._correlation(first * seen, second * valid, seen, valid, reach=6)
    for dy, dx in ((0, 0), (3, -5), (-6, 6), (2, 1)):
        a = (slice(max(0, -dy), 40 - max(0, dy)), slice(max(0, -dx), 52 - max(0, dx)))
        b = (slice(max(0, dy), 40 + min(0, dy)), slice(max(0, dx), 52 + min(0, dx)))
        mask = seen[..., *a] * valid[..., *b]
        expected = edge_agreement(first[..., *a], second[..., *b], mask)
        assert scores[0, 6 + dy, 6 + dx] == pytest.approx(float(expected), abs=1e-4)
        assert common[0, 6 + dy, 6 + dx] == mask.sum()


def test_mutual_information_of_a_small_table():
    """Two images of two levels, equal in three quarters of the pixels."""
    a = np.tile(np.array([0, 0, 1, 1], np.int16), (64, 16))
    b = np.tile(np.array([0, 1, 1, 1], np.int16), (64, 16))
    bias = (evidence.BINS - 1) ** 2 / (2 * a.size)
    joint = {(0, 0): 0.25, (0, 1): 0.25, (1, 1): 0.5}
    expected = sum(p * math.log(p / (0.5 * (0.25, 0.75)[j])) for (_, j), p in joint.items())
    assert evidence._shifted_information(a, b, 0, 0, 1) == pytest.approx(expected - bias)
    assert evidence._shifted_information(a, b, 0, 60, 1000) is None
    # Read two columns further, b is [1, 1, 0, 1].
    joint = {(0, 1): 0.5, (1, 0): 0.25, (1, 1): 0.25}
    told = evidence._shifted_information(a, b, 0, 2, 1)
    count = 64 * 62
    assert told == pytest.approx(expected, abs=0.05 + (evidence.BINS - 1) ** 2 / (2 * count))


@pytest.mark.parametrize("offset", [(0, 0), (5, 0), (0, -7), (9, 9)])
def test_tiles_find_their_places(offset):
    """The shares of tiles near their place, of an image against itself shifted."""
    source, _, _ = unaligned("nir")
    grey = grey_of(source)[0]
    ones = np.ones_like(grey)
    dx, dy = offset
    target = cv2.warpPerspective(grey, shifted(np.eye(3), dx, dy), grey.shape[::-1], borderMode=cv2.BORDER_REFLECT_101)
    found = evidence.tiles(Laid(grey, target, ones, ones))
    tolerance = evidence.NEAR * np.hypot(SIZE - 1, SIZE - 1)
    assert found["share"] > 0.9 if math.hypot(dx, dy) <= tolerance else found["share"] < 0.2


def test_binomial_tail():
    assert 10 ** evidence.log10_tail(2, 3, 0.5) == pytest.approx(0.5)
    assert 10 ** evidence.log10_tail(3, 3, 0.1) == pytest.approx(1e-3)
    assert evidence.log10_tail(0, 5, 0.1) == 0


def test_standing_out():
    far = np.array([0.0, 2.0] * 8)
    assert evidence.standing_out(np.array([3.0, 1.0]), far) == (2.0, 1.0)
    assert evidence.standing_out(np.array([3.0]), np.zeros(20)) == (0.0, 0.0)
    assert evidence.standing_out(np.array([]), far) == (0.0, 0.0)


def test_images_are_laid_where_the_homography_says():
    """A source of three times the resolution, and a target of which it covers a part."""
    canvas = cv2.GaussianBlur(np.random.default_rng(0).random((600, 800)).astype(np.float32), (0, 0), 6)
    canvas = (canvas - canvas.min()) / np.ptp(canvas)
    matrix = np.array([[0.33, 0.02, 210.0], [-0.02, 0.34, 150], [0, 1e-5, 1]])
    source = cv2.warpPerspective(canvas, matrix, (600, 600), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    laid = lay(source, canvas, matrix)
    assert max(laid.source.shape) <= 256
    both = laid.seen * laid.valid > 0
    assert both.mean() > 0.3
    assert np.abs(laid.source - laid.target)[both].max() < 0.03


def test_a_frame_and_missing_pixels_are_no_part_of_an_image():
    image = np.random.default_rng(0).uniform(0.1, 1, (60, 80)).astype(np.float32)
    image[:10], image[30:34, 30:34], image[50, 50] = 0, 0, np.nan
    grey, known = grey_of(image)
    assert np.isfinite(grey).all()
    assert not known[:10].any()
    assert known[30:34, 30:34].all()  # black, but not at the border
    assert known[50, 50] == 0
    assert known.sum() == 50 * 80 - 1


def test_false_alarms_of_a_small_case():
    """N = 6, k = 5: 2 C(6, 5) C(5, 4) p."""
    p = math.pi * 9 / 10_000
    assert shape.log_false_alarms(5, 6, 3.0, (100, 100)) == pytest.approx(math.log10(2 * 6 * 5 * p))
    assert shape.log_false_alarms(4, 50, 3.0, (100, 100)) == 0


def test_distances_of_homographies():
    size, there = (101, 201), shifted(np.eye(3), 3, 4)
    assert shape.cycle(there, np.linalg.inv(there), size) == pytest.approx(0)
    assert shape.cycle(there, np.eye(3), size) == pytest.approx(5 / np.hypot(100, 200))
    assert shape.apart(there, np.eye(3), size, (30, 40)) == pytest.approx(0.1)
    assert shape.apart(there, np.full((3, 3), np.nan), size, size) == 1
    assert [shape.closeness(d) for d in (0.0, 0.001, 0.1, 1.0, 5.0)] == pytest.approx([3, 3, 1, 0, 0])


def test_the_shape_of_a_scaling():
    found = shape.shape_of(np.diag([0.5, 0.5, 1]), (101, 101), (101, 101))
    assert (found.plausible, found.uneven) == (True, pytest.approx(0))
    assert found.overlap == pytest.approx(1)
    assert shape.shape_of(np.diag([0.5, 0.05, 1]), (101, 101), (101, 101)).uneven == pytest.approx(1)
    half = shape.shape_of(shifted(np.eye(3), 50, 0), (101, 101), (101, 101))
    assert half.overlap == pytest.approx(0.5)


def test_inliers_in_a_corner_have_little_spread():
    size = (201, 201)
    wide = np.array([[10.0, 10], [190, 10], [190, 190], [10, 190]])
    for points, expected in ((wide, 0.81), (10 + wide / 10, 0.0081)):
        told = shape.supported(shape.Matches(points, points, np.ones(4, bool)), np.eye(3), size, size)
        assert told["spread"] == pytest.approx(expected)
        assert (told["inliers"], told["share"]) == (4, 1)


def test_corners_go_round():
    quad = moved(homography(np.zeros((4, 2))), corners_of((SIZE, SIZE)))
    assert quad == pytest.approx(np.array([[0, 0], [255, 0], [255, 255], [0, 255]]), abs=1e-6)
