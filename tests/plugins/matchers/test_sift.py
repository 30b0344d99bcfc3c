"""SIFT: right on texture, honest on noise, the same whatever came before."""

import cv2
import numpy as np
import pytest
import torch

from regbench import PairInfo, geometry
from regbench_matchers.sift import SIFT, SIFTConfig
from tests.plugins.matchers.scenes import moved, nothing, pair, synthetic_pairs, textured


@pytest.fixture(scope="module")
def sift():
    return SIFT(SIFTConfig(), PairInfo())


@pytest.fixture(scope="module")
def batch():
    truth = moved(4)
    made = [pair(seed, truth[seed : seed + 1]) for seed in range(4)]
    return torch.cat([s for s, _ in made]), torch.cat([t for _, t in made]), truth


def test_known_homographies_are_recovered(sift, batch):
    source, target, truth = batch
    found = sift.register(source, target)
    assert found.ok.all()
    assert found.displacements.shape == (1, 4, 4, 2)
    assert geometry.corner_error(found.displacement, truth).max() < 0.5
    assert geometry.corner_error(torch.zeros_like(truth), truth).min() > 5


def test_embedded_scenes_of_one_modality_align_below_a_pixel(sift):
    source, target, truth = synthetic_pairs(12, 128, 32)
    found = sift.register(source, target)
    assert geometry.corner_error(found.displacement, truth).median() < 1


def test_shift_has_the_sign_of_the_convention(sift):
    truth = torch.tensor([9.0, -14.0]).expand(1, 4, 2)
    found = sift.register(*pair(5, truth))
    assert (found.displacement - truth).abs().max() < 0.3


def test_homography_moves_the_source_as_opencv_would(sift):
    source = textured(6, 256)
    h = geometry.homography_from_displacement(moved(1, 30, seed=6).double(), (256, 256))[0].numpy()
    warped = cv2.warpPerspective(source[0].permute(1, 2, 0).numpy(), h, (256, 256))
    found = sift.register(source, torch.from_numpy(warped).permute(2, 0, 1)[None])
    assert found.ok.all()
    points = np.array([[[40.0, 50.0], [200.0, 60.0], [70.0, 210.0]]])
    ours, oracle = (cv2.perspectiveTransform(points, m) for m in (found.homography[0].numpy(), h))
    assert np.abs(ours - oracle).max() < 0.5


def test_images_of_different_sizes_are_taken_as_they_are(sift):
    image = textured(7, 256)
    source, target = image[..., 20:200, 10:230], image[..., 30:250, 40:240]
    found = sift.register(source, target)
    assert found.ok.all()
    assert found.size == (180, 220)
    assert (found.displacement - torch.tensor([-30.0, -10.0])).abs().max() < 0.3


@pytest.mark.parametrize("kind", ["flat", "noise", "unrelated", "one flat"])
def test_pairs_without_an_answer_fail_honestly(sift, kind):
    source, target = nothing()[kind]
    found = sift.register(source, target)
    assert not found.ok.any()
    assert found.displacement.abs().max() == 0


def test_answer_does_not_depend_on_the_pairs_before(sift, batch):
    source, target, _ = batch
    together = sift.register(source, target).displacement
    cv2.setRNGSeed(12345)
    cv2.randu(np.zeros((9, 9), np.float32), 0, 1)
    alone = torch.cat([sift.register(source[i : i + 1], target[i : i + 1]).displacement for i in (3, 2, 1, 0)])
    assert torch.equal(alone.flip(0), together)


def test_failed_pair_leaves_its_neighbours_alone(sift, batch):
    source, target, truth = (x[:2].clone() for x in batch)
    source[0] = 0.5
    found = sift.register(source, target)
    assert found.ok.tolist() == [False, True]
    assert geometry.corner_error(found.displacement, truth)[1] < 0.5


def test_settings_out_of_range_are_refused():
    for wrong in ({"ratio": 1.0}, {"threshold": 0}, {"contrast": -1}, {"features": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SIFTConfig(**wrong)
