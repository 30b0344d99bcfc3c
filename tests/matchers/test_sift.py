"""SIFT: right on texture, honest on noise, the same whatever came before."""

import cv2
import numpy as np
import pytest
import torch

from regbench import PairInfo, geometry
from regbench_matchers.sift import SIFT, SIFTConfig


@pytest.fixture(scope="module")
def sift():
    return SIFT(SIFTConfig(), PairInfo())


def textured(seed=0, side=320):
    """Blobs and edges at several scales, RGB in [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 0.5, np.float32)
    for _ in range(400):
        colour = rng.uniform(0, 1, 3).tolist()
        x, y = rng.integers(0, side, 2).tolist()
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), int(rng.integers(2, 14)), colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (x, y), (x + int(rng.integers(3, 24)), y + int(rng.integers(3, 24))), colour, -1)
    return torch.from_numpy(cv2.GaussianBlur(image, (0, 0), 0.8)).permute(2, 0, 1)[None]


def pair(seed, displacement, patch=224, origin=48.0):
    image = textured(seed)
    shift = geometry.translation(torch.tensor([[origin, origin]]))
    h = geometry.homography_from_displacement(displacement, (patch, patch))
    return geometry.sample(image, shift @ h, (patch, patch)), geometry.sample(image, shift, (patch, patch))


def moved(count, rho=24, seed=0):
    return torch.randint(-rho, rho + 1, (count, 4, 2), generator=torch.Generator().manual_seed(seed)).float()


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
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 1, 3, 128, 128, generator=generator)
    flat = torch.full((1, 3, 128, 128), 0.5)
    source, target = {
        "flat": (flat, flat),
        "noise": (noise[0], noise[1]),
        "unrelated": (textured(8, 128), torch.rand(1, 3, 128, 128, generator=generator)),
        "one flat": (textured(8, 128), flat),
    }[kind]
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
