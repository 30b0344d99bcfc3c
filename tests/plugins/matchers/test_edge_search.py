"""Edge search: right across modalities, within the rotations and scales it looks for, and by votes that add up."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from regbench import PairInfo, geometry
from regbench.data.synthetic import Synthetic, SyntheticConfig
from regbench_matchers.edge_search import EdgeSearch, EdgeSearchConfig, votes
from regbench_matchers.edge_search.fields import Working, field
from regbench_matchers.edge_search.hypotheses import hypotheses
from tests.plugins.matchers.scenes import cut_pair, moved, pair, similarity, textured


def error(displacement, truth):
    return geometry.corner_error(displacement, truth).max().item()


def registered(source, target, **settings):
    return EdgeSearch(EdgeSearchConfig(**settings), PairInfo()).register(source, target)


def grey(seed, side=96):
    return Working(np.ascontiguousarray(textured(seed, 320)[0].mean(0).numpy()[:side, :side]), np.eye(3))


@pytest.mark.parametrize("modality", ["nir", "sar", "depth"])
def test_scenes_of_two_sensors_are_aligned(modality):
    """One scene of the embedded data; corners moved by up to 10 % of the side."""
    data = Synthetic(SyntheticConfig(train=1, test=1, size=288, a="optical", b=modality))
    images = data.read("train", data.keys("train")[0])
    a, b = (
        torch.from_numpy(np.atleast_3d(x)).permute(2, 0, 1)[None].float().mean(1, True) / 255
        for x in (images.a, images.b)
    )
    truth, origin = moved(1, 20, seed=3), torch.tensor([[44.0, 44.0]])
    source, target = cut_pair(a, truth, 200, origin)[0], cut_pair(b, truth, 200, origin)[1]
    found = registered(source, target)
    assert found.ok.all()
    assert error(found.displacement, truth) < 0.01 * 200 * math.sqrt(2)


def test_contrast_may_be_inverted():
    truth = moved(1, 16, seed=4)
    source, target = pair(1, truth, 160, 80.0)
    found = registered(source, 1 - target)
    assert found.ok.all()
    assert error(found.displacement, truth) < 1.5


def test_rotation_is_found_as_far_as_it_is_looked_for():
    truth = similarity(math.radians(70), 1.0, (0.0, 0.0), 160)
    source, target = pair(2, truth, 160, 80.0)
    near = registered(source, target)
    assert not near.ok.any() or error(near.displacement, truth) > 20
    assert error(registered(source, target, rotation=90.0).displacement, truth) < 1.5


def test_scale_is_found_as_far_as_it_is_looked_for():
    truth = similarity(0.0, 0.65, (4.0, -6.0), 160)
    source, target = pair(3, truth, 160, 80.0)
    assert error(registered(source, target).displacement, truth) < 1.5
    alone = registered(source, target, scale=1.0)
    assert not alone.ok.any() or error(alone.displacement, truth) > 10


def test_the_best_hypothesis_is_the_shift_of_a_window():
    whole = textured(5, 320)[0].mean(0).numpy()
    source, target = (
        Working(np.ascontiguousarray(x), np.eye(3)) for x in (whole[40:120, 60:150], whole[50:140, 40:110])
    )
    best = hypotheses(source, target, [0.0, 0.2], [0.8, 1.0], 1.5, 4)
    assert len(best) == 4
    np.testing.assert_allclose(best[0].homography, [[1, 0, 20], [0, 1, -10], [0, 0, 1]], atol=1.01)
    assert best[0].score == max(one.score for one in best)


def test_votes_move_a_homography_onto_the_edges():
    image = grey(6)
    truth = np.array([[1.02, 0.01, 3.0], [-0.02, 0.99, -2.0], [1e-4, 0, 1]])
    target = Working(cv2.warpPerspective(image.grey, truth, (96, 96), borderMode=cv2.BORDER_REFLECT_101), np.eye(3))
    found = votes.improved(image, target, votes.improved(image, target, np.eye(3), 3, 8, 1.5), 4, 4, 1.0)
    corners = np.array([[[0, 0], [95, 0], [0, 95], [95, 95.0]]])
    off = cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, truth)
    assert np.linalg.norm(off, axis=-1).max() < 1.0
    assert votes.agreement(image, target, found, 1.0) > votes.agreement(image, target, np.eye(3), 1.0)


def test_surfaces_are_sampled_as_torch_does():
    generator = np.random.default_rng(0)
    surfaces, shifts = generator.standard_normal((5, 2, 9, 9)), generator.uniform(-3.9, 3.9, (5, 2))
    grid = torch.from_numpy(shifts / 4).view(5, 1, 1, 2)
    expected = F.grid_sample(torch.from_numpy(surfaces), grid, align_corners=True)[:, :, 0, 0].numpy()
    np.testing.assert_allclose(votes._sampled(surfaces, shifts, 4), expected, atol=1e-9)
    assert (votes._sampled(surfaces, np.full((5, 2), 4.5), 4) == 0).all()


def test_answers_stand_out_from_shifted_copies_and_others_do_not():
    image = grey(7)
    assert votes.margin(image, image, np.eye(3), 1.0) > 5
    assert votes.margin(image, grey(8), np.eye(3), 1.0) < 4
    assert votes.margin(image, image, np.array([[1, 0, 500.0], [0, 1, 0], [0, 0, 1]]), 1.0) == 0


def test_a_field_is_known_only_where_the_image_is():
    seen = field(grey(9), np.array([[1, 0, 20.0], [0, 1, 0], [0, 0, 1]]), (96, 96), 1.5)
    assert not seen.mask[..., :22].any()
    assert seen.mask[..., 2:-2, 22:-2].all()
    assert not seen.values[..., :22].any()


def test_a_full_circle_of_rotations_has_each_once():
    angles = EdgeSearch(EdgeSearchConfig(rotation=180.0, rotation_step=45.0), PairInfo())._angles()
    assert np.allclose(np.degrees(angles), [-135, -90, -45, 0, 45, 90, 135, 180])
