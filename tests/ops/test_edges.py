"""Edge orientations: agreement and shift, on images whose shift is known."""

import pytest
import torch
import torch.nn.functional as F

from regbench import geometry
from regbench.ops import edge_agreement, edge_field, edge_shift


@pytest.fixture(scope="module")
def scenes():
    """Blobs with sharp edges, ``(4, 1, 96, 110)``."""
    noise = torch.randn(4, 1, 96, 110, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(F.avg_pool2d(noise, 9, 1, 4), 9, 1, 4)
    return (smooth > 0).float() * 0.6 + 0.2


def test_field_is_blind_to_sign_and_contrast(scenes):
    field = edge_field(scenes)
    assert field.shape == (4, 2, 96, 110)
    assert field.norm(dim=1).max() < 1
    torch.testing.assert_close(edge_field(1 - 0.3 * scenes), field, atol=1e-4, rtol=0)
    torch.testing.assert_close(edge_field(scenes.expand(-1, 3, -1, -1)), field, atol=1e-5, rtol=0)
    assert edge_field(torch.full((1, 1, 20, 20), 0.4)).abs().max() == 0


def test_field_of_straight_edges():
    """Across a vertical edge the gradient lies along x: angle 0; along the diagonal: a quarter turn, doubled."""
    vertical = torch.zeros(1, 1, 32, 32)
    vertical[..., 16:] = 1
    middle = edge_field(vertical)[0, :, 16, 15]
    assert middle[0] > 0.5
    assert abs(middle[1]) < 1e-5
    torch.testing.assert_close(edge_field(vertical.mT)[0, :, 15, 16], -middle, atol=1e-5, rtol=0)
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    diagonal = edge_field((x + y > 32).float()[None, None])[0, :, 16, 16]
    assert diagonal[1] > 0.5
    assert abs(diagonal[0]) < 1e-4


def test_agreement(scenes):
    field = edge_field(scenes)
    torch.testing.assert_close(edge_agreement(field, field), torch.ones(4))
    turned = field * torch.tensor([-1.0, -1.0]).view(1, 2, 1, 1)  # doubled angles: a right angle between the edges
    torch.testing.assert_close(edge_agreement(field, turned), -torch.ones(4))
    assert edge_agreement(field, field.roll(1, 0)).abs().max() < 0.25
    mask = torch.zeros(4, 1, 96, 110)
    assert edge_agreement(field, field, mask).abs().max() == 0
    mask[..., :40] = 1
    spoiled = torch.where(mask.bool(), field, -field)
    torch.testing.assert_close(edge_agreement(field, spoiled, mask), torch.ones(4))


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-8, 8), (7, 0)])
def test_whole_shifts_are_found(scenes, shift):
    moved = scenes.roll((shift[1], shift[0]), (-2, -1))
    found, agreement = edge_shift(edge_field(scenes), edge_field(moved), 8)
    torch.testing.assert_close(found, torch.tensor(shift).float().expand(4, 2), atol=0.12, rtol=0)
    assert agreement.min() > 0.7


def test_parts_of_a_pixel_are_found(scenes):
    moved = geometry.warp(scenes, geometry.translation(torch.tensor([[2.4, -1.3]])).expand(4, 3, 3), padding="border")
    found, _ = edge_shift(edge_field(scenes), edge_field(moved), 8)
    torch.testing.assert_close(found, torch.tensor([[2.4, -1.3]]).expand(4, 2), atol=0.15, rtol=0)


def test_nothing_to_see_is_no_shift_and_no_agreement():
    flat = edge_field(torch.full((2, 1, 40, 40), 0.5))
    _, agreement = edge_shift(flat, flat, 4)
    assert agreement.abs().max() < 1e-6
