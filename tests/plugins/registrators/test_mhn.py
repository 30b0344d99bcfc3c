"""MHN: the published size, exact scaling, the published defect."""

import cv2
import numpy as np
import pytest
import torch

from regbench import PairInfo, Registration, geometry
from regbench_registrators.mhn import MHN, MHNConfig

HOMOGRAPHY = torch.tensor([[[1.1, 0.08, 6.0], [-0.05, 0.95, -4.0], [8e-4, -6e-4, 1.0]]])


def build(patch=128, device="meta", preset=None, **settings):
    with torch.device(device):
        return MHN(MHNConfig(**(MHNConfig.presets[preset] if preset else {}) | settings), PairInfo(patch=patch))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


class Says(torch.nn.Module):
    """A level that says the same whatever it sees, and keeps what it saw."""

    def __init__(self, offsets):
        super().__init__()
        self.offsets, self.seen = torch.tensor(offsets), None

    def forward(self, pair):
        self.seen = pair
        return self.offsets.expand(pair.shape[0], 4, 2)


# --- sizes


def test_published_network_has_the_published_parameters():
    network = build()
    assert parameters(network) == 2_566_936
    assert [parameters(level) for level in network.levels] == [362_760, 658_440, 1_545_736]


@pytest.mark.parametrize(("patch", "blocks"), [(16, [1, 2, 3]), (64, [3, 4, 5]), (128, [4, 5, 6]), (256, [5, 6, 7])])
def test_depth_follows_the_patch(patch, blocks):
    assert [len(level.blocks) for level in build(patch).levels] == blocks


@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (64, "smoke"), (128, "tiny"), (32, "tiny")])
def test_presets_estimate_once_a_level(patch, preset):
    torch.manual_seed(0)
    network = build(patch, "cpu", preset).eval()
    source, target = torch.rand(2, 3, 3, patch, patch)
    found = network(source, target)
    assert found.displacements.shape == (3, 3, 4, 2)
    assert found.size == (patch, patch)
    alone = network(source[1:2], target[1:2])
    torch.testing.assert_close(alone.displacements, found.displacements[:, 1:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("patch", [96, 8])
def test_wrong_patch_says_what_is_needed(patch):
    with pytest.raises(ValueError, match=f"power of two, at least 16 px; got {patch}"):
        build(patch)


# --- scaling


def places(side):
    """An image whose value at each pixel is that pixel's x (first) or y (second): bilinear sampling of it is exact."""
    return geometry.pixel_grid((side, side)).mT.reshape(2, 1, side, side)


def misplacement(scaling, level):
    """How far, in pixels of the level, the warp reads from where the full-size homography says; inside alone."""
    side = 128 // (4, 2, 1)[level]
    network = build(device="cpu", preset="tiny", scaling=scaling)
    found = network.warped(places(side), HOMOGRAPHY.expand(2, 3, 3), level).squeeze(1)
    full = (geometry.pixel_grid((side, side)) + 0.5) * (128 / side) - 0.5
    back = geometry.transform_points(geometry.invert(HOMOGRAPHY)[0], full)
    expected = ((back + 0.5) * (side / 128) - 0.5).mT.reshape(2, side, side)
    inside = ((expected >= 1) & (expected <= side - 2)).all(0)
    assert inside.float().mean() > 0.5
    return (found - expected).norm(dim=0)[inside]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_exact_scaling_reads_where_the_full_homography_says(level):
    assert misplacement("exact", level).max() < 1e-3


def test_published_scaling_has_its_defect():
    assert misplacement("published", 1).median() > 0.5  # half size: h31 and h32 are left as they are
    assert 0.1 < misplacement("published", 2).max() < 1.0  # full size: the other grid convention alone


def test_published_warp_is_a_translation_halved_in_the_other_convention():
    image = torch.rand(1, 1, 64, 64)
    network = build(device="cpu", preset="tiny", scaling="published")
    found = network.warped(image, HOMOGRAPHY, 1)[0, 0].numpy()
    halved = HOMOGRAPHY[0].clone().double().numpy()
    halved[:2, 2] /= 2
    stretch = np.array([[64 / 63, 0, -0.5], [0, 64 / 63, -0.5], [0, 0, 1]])
    expected = cv2.warpPerspective(
        image[0, 0].numpy(), stretch @ np.linalg.inv(halved), (64, 64), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    assert np.abs(found - expected).mean() < 0.01  # OpenCV rounds coordinates to 1/32 px


# --- levels


@pytest.mark.parametrize("composition", ["add", "compose"])
def test_each_level_sees_the_source_warped_by_the_coarser_ones(composition):
    network = build(64, "cpu", "tiny", composition=composition)
    offsets = [[[4.0, -6.0], [-3.0, 2.0], [5.0, 1.0], [-6.0, -6.0]], [[1.0, 0.0]] * 4, [[0.0, 2.0]] * 4]
    levels = [Says(o) for o in offsets]
    network.levels = torch.nn.ModuleList(levels)
    source, target = torch.rand(2, 1, 3, 64, 64)
    found = network(source, target).displacements
    assert [tuple(level.seen.shape) for level in levels] == [(1, 2, side, side) for side in (16, 32, 64)]
    d0, d1, d2 = (torch.tensor([o]) for o in offsets)
    h0, h1, h2 = (geometry.homography_from_displacement(d, (64, 64)) for d in (d0, d1, d2))
    if composition == "add":
        expected = [d0, d0 + d1, d0 + d1 + d2]
    else:  # the source goes by the first homography into the frame the second level works in, and on
        h10 = geometry.compose(h1, h0)
        expected = [geometry.displacement_from_homography(h, (64, 64)) for h in (h0, h10, geometry.compose(h2, h10))]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=0)
    h = geometry.homography_from_displacement(found[1], (64, 64))
    torch.testing.assert_close(levels[2].seen[:, :1], geometry.warp(source.mean(1, keepdim=True), h), atol=1e-4, rtol=0)
    torch.testing.assert_close(levels[2].seen[:, 1:], target.mean(1, keepdim=True))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = build(64, "cpu", "tiny")
    network.loss(network(*torch.rand(2, 4, 3, 64, 64)), 8 * torch.randn(4, 4, 2)).backward()
    assert not [k for k, p in network.named_parameters() if p.grad is None]
    assert not [k for k, p in network.named_parameters() if k.endswith("weight") and not p.grad.any()]


def test_a_level_does_not_train_the_coarser_ones():
    torch.manual_seed(0)
    network = build(64, "cpu", "tiny")
    network(*torch.rand(2, 4, 3, 64, 64)).displacement.sum().backward()
    assert {k.split(".")[1] for k, p in network.named_parameters() if p.grad.any()} == {"2"}


def test_loss_weighs_levels_by_gamma():
    truth = torch.zeros(1, 4, 2)
    estimates = torch.tensor([4.0, 3.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 4, 2)
    assert float(build().loss(Registration(estimates, (128, 128)), truth)) == pytest.approx(0.64 * 4 + 0.8 * 3 + 1)
