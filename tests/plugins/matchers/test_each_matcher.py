"""What all classical matchers share: right on pairs they are made for, honest on others, one pair at a time."""

import math

import cv2
import numpy as np
import pytest
import torch

from regbench import PairInfo, geometry
from regbench_matchers.ecc import ECC, ECCConfig
from regbench_matchers.edge_search import EdgeSearch, EdgeSearchConfig
from regbench_matchers.orb import ORB, ORBConfig
from regbench_matchers.phase_correlation import PhaseCorrelation, PhaseCorrelationConfig
from regbench_matchers.rift import RIFT, RIFTConfig
from tests.plugins.matchers.scenes import batch_of, nothing, pair, similarity, synthetic_pairs, textured

# What each can undo: corners moved by so many pixels of 128 at random, or a similarity.
MADE = {
    "orb": (ORB(ORBConfig(), PairInfo()), 16),
    "edge-search": (EdgeSearch(EdgeSearchConfig(), PairInfo()), 16),
    "ecc": (ECC(ECCConfig(), PairInfo()), 6),
    "phase-correlation": (PhaseCorrelation(PhaseCorrelationConfig(), PairInfo()), None),
    "rift": (RIFT(RIFTConfig(), PairInfo()), 16),
    "rift2": (RIFT(RIFTConfig(rotation=True), PairInfo()), 16),
}
each = pytest.mark.parametrize("name", MADE)


def solvable(name, count=2):
    rho = MADE[name][1]
    if rho is not None:
        return batch_of(count, rho, 128)
    truth = torch.cat([similarity(0.15 * i - 0.2, 1.1 - 0.08 * i, (5.3 * i - 7, 4.4), 128) for i in range(count)])
    made = [pair(i, truth[i : i + 1], 128, 80.0) for i in range(count)]
    return torch.cat([s for s, _ in made]), torch.cat([t for _, t in made]), truth


@each
def test_known_homographies_are_recovered(name):
    source, target, truth = solvable(name)
    found = MADE[name][0].register(source, target)
    assert found.ok.all()
    assert found.displacements.shape == (1, 2, 4, 2)
    assert geometry.corner_error(found.displacement, truth).median() < 1
    assert geometry.corner_error(torch.zeros_like(truth), truth).median() > 3


@each
def test_homography_moves_the_source_as_opencv_would(name):
    source = textured(6, 200)
    h = np.array([[1.02, 0.03, 4.0], [-0.03, 1.02, -3.0], [0, 0, 1.0]])
    warped = cv2.warpPerspective(source[0].permute(1, 2, 0).numpy(), h, (200, 200), borderMode=cv2.BORDER_REFLECT_101)
    found = MADE[name][0].register(source, torch.from_numpy(warped).permute(2, 0, 1)[None])
    points = np.array([[[40.0, 50.0], [160.0, 60.0], [70.0, 150.0]]])
    ours, oracle = (cv2.perspectiveTransform(points, m) for m in (found.homography[0].numpy(), h))
    assert np.abs(ours - oracle).max() < 0.7


@each
def test_images_of_different_sizes_are_taken_as_they_are(name):
    image = textured(7, 256)
    source, target = image[..., 20:200, 10:230], image[..., 26:236, 13:223]
    found = MADE[name][0].register(source, target)
    assert found.ok.all()
    assert found.size == (180, 220)
    assert (found.displacement - torch.tensor([-3.0, -6.0])).abs().max() < 0.6


@each
def test_answer_is_that_of_the_pair_alone_whatever_came_before(name):
    source, target, _ = solvable(name, 2)
    matcher = MADE[name][0]
    together = matcher.register(source, target).displacement
    cv2.setRNGSeed(12345)
    torch.manual_seed(7)
    alone = torch.cat([matcher.register(source[i : i + 1], target[i : i + 1]).displacement for i in (1, 0)])
    assert torch.equal(alone.flip(0), together)


@each
def test_one_channel_and_strided_views_give_the_same(name):
    source, target, _ = solvable(name, 1)
    grey_s, grey_t = source[:, 1:2], target[:, 1:2]
    matcher = MADE[name][0]
    expected = matcher.register(grey_s.repeat(1, 3, 1, 1), grey_t.repeat(1, 3, 1, 1)).displacement
    wide = torch.zeros(1, 1, 128, 256)
    wide[..., ::2] = grey_s
    strided = wide[..., ::2]
    assert not strided.is_contiguous()
    assert torch.equal(matcher.register(strided, grey_t).displacement, expected)


@each
@pytest.mark.parametrize("kind", ["flat", "one flat", "noise", "unrelated"])
def test_pairs_without_an_answer_fail_honestly(name, kind):
    found = MADE[name][0].register(*nothing()[kind])
    assert not found.ok.any()
    assert found.displacement.abs().max() == 0


@each
def test_failed_pair_leaves_its_neighbours_alone(name):
    source, target, truth = (x[:2].clone() for x in solvable(name))
    source[0] = 0.5
    found = MADE[name][0].register(source, target)
    assert found.ok.tolist() == [False, True]
    assert geometry.corner_error(found.displacement, truth)[1] < 2


def test_orb_aligns_embedded_scenes_of_one_modality_below_a_pixel():
    source, target, truth = synthetic_pairs(12, 128, 16)
    found = MADE["orb"][0].register(source, target)
    assert geometry.corner_error(found.displacement, truth).median() < 1


def test_settings_out_of_range_are_refused():
    for config, wrong in [
        (ORBConfig, {"features": 0}), (ORBConfig, {"ratio": 1.1}), (ORBConfig, {"contrast": 0}),
        (ECCConfig, {"levels": 0}), (ECCConfig, {"blur": 4}), (ECCConfig, {"correlation": 1.0}),
        (PhaseCorrelationConfig, {"angles": 3}), (PhaseCorrelationConfig, {"max_scale": 1.0}),
        (EdgeSearchConfig, {"scale": 0.5}), (EdgeSearchConfig, {"rotation_step": 0}),
        (RIFTConfig, {"patches": ()}), (RIFTConfig, {"patches": (5,)}), (RIFTConfig, {"moment": "mean"}),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            config(**wrong)
    assert math.isfinite(PhaseCorrelationConfig().peak)


@each
@pytest.mark.parametrize("sizes", [((1, 1), (1, 1)), ((1, 8), (8, 1)), ((8, 8), (8, 8)), ((200, 200), (5, 5))])
@pytest.mark.parametrize("flat", [False, True])
def test_tiny_images_have_no_answer(name, sizes, flat):
    if name == "ecc" and not flat:
        pytest.skip("correlates as few pixels as it is given")
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.rand(1, 3, *size, generator=generator) for size in sizes)
    if flat:
        source, target = torch.full_like(source, 0.5), torch.full_like(target, 0.5)
    found = MADE[name][0].register(source, target)
    assert not found.ok.any()
    assert (found.displacement == 0).all()
