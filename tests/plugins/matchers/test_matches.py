"""Matched points: they come out with the homography, and many descriptors give the same ones as few."""

import cv2
import numpy as np
import pytest
import torch

from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench_matchers.blocks import nearest as module
from regbench_matchers.blocks.nearest import euclidean, match, nearest

TRUTH = np.array([[1.0, 0.02, 7.0], [-0.01, 1.0, -5.0], [0, 0, 1.0]])


@pytest.mark.parametrize("name", ["sift", "orb", "rift"])
def test_matches_agree_with_the_homography(smooth_images, name):
    image = smooth_images(1, (160, 180), seed=3)[0]
    pair = [torch.from_numpy(x / np.float32(255))[None, None] for x in (image, _moved(image))]
    found = registrator_alone(configure("registrator", name)).register(*pair)
    assert found.ok.all()
    (matches,) = found.matches
    assert matches.inliers.sum() >= 8
    moved = cv2.perspectiveTransform(matches.source[None], found.homography[0].numpy())[0]
    assert np.abs(moved - matches.target)[matches.inliers].max() < 3.1
    truth = cv2.perspectiveTransform(matches.source[None], TRUTH)[0]
    assert np.median(np.abs(truth - matches.target)[matches.inliers]) < 0.8


def _moved(image):
    return cv2.warpPerspective(image, TRUTH, image.shape[::-1], borderMode=cv2.BORDER_REFLECT_101)


def test_methods_without_points_have_no_matches(smooth_images):
    image = torch.from_numpy(smooth_images(1, (96, 96))[0] / np.float32(255))[None, None]
    assert registrator_alone(configure("registrator", "ecc")).register(image, image).matches == ()


@pytest.mark.parametrize("ratio", [1.0, 0.8])
@pytest.mark.parametrize("mutual", [False, True])
def test_blocks_give_the_same_matches(monkeypatch, ratio, mutual):
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 9, (n, 6)).astype(np.float32) for n in (97, 61))
    whole = nearest(euclidean(source, target), ratio=ratio, mutual=mutual)
    monkeypatch.setattr(module, "_MOST", 500)
    largest = []

    def distances(a, b):
        largest.append(len(a) * len(b))
        return euclidean(a, b)

    blocks = match(source, target, distances, ratio=ratio, mutual=mutual)
    assert len(largest) > 10
    assert max(largest) <= 500
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(a, b)
