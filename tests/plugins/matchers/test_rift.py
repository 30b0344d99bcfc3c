"""RIFT: its descriptor against the definition, its indifference to contrast, its rotation."""

import math

import numpy as np
import pytest
import torch

from regbench import PairInfo, geometry
from regbench_matchers.blocks.index_map import histograms, main_orientations
from regbench_matchers.blocks.nearest import euclidean, hamming, nearest
from regbench_matchers.rift import RIFT, RIFTConfig
from regbench_matchers.sift import SIFT, SIFTConfig
from tests.plugins.matchers.scenes import batch_of, pair, similarity


def index_map(seed=0, size=(50, 60)):
    return torch.randint(0, 6, size, generator=torch.Generator().manual_seed(seed))


def naive(index, x, y, patch, cells, orientations):
    """The descriptor of an upright patch with a pixel at its centre, by counting."""
    h, w = index.shape
    side, found = patch // cells, np.zeros((cells, cells, orientations))
    first_x, first_y = (math.floor(c - (cells * side - 1) / 2 + 0.5) for c in (x, y))
    for j in range(cells * side):
        for i in range(cells * side):
            px, py = first_x + i, first_y + j
            if 0 <= px < w and 0 <= py < h:
                found[j // side, i // side, index[py, px]] += 1
    length = np.linalg.norm(found)
    return (found / length if length else found).ravel()


@pytest.mark.parametrize(("patch", "cells"), [(21, 3), (24, 4), (25, 4), (30, 6), (9, 1)])
def test_descriptor_counts_indices_in_cells_and_nothing_beyond_the_rim(patch, cells):
    index = index_map()
    points = torch.tensor([[30.0, 25.0], [2.0, 3.0], [58.0, 47.0], [0.0, 49.0]])
    found = histograms(index, points, patch, cells, 6)
    for row, (x, y) in zip(found.numpy(), points.tolist(), strict=True):
        np.testing.assert_allclose(row, naive(index.numpy(), x, y, patch, cells, 6), atol=1e-6)


def test_descriptor_of_no_points_and_of_a_patch_outside():
    assert histograms(index_map(), torch.zeros(0, 2), 12, 6, 6).shape == (0, 216)
    assert histograms(index_map(), torch.tensor([[500.0, 500.0]]), 12, 6, 6).abs().sum() == 0


def test_turned_descriptor_does_not_change_with_the_image():
    index = index_map(1, (61, 61))
    index[20:45, 20:45] = 2  # a clear majority
    centre = torch.tensor([[30.0, 30.0]])
    upright = histograms(index, centre, 27, 3, 6, torch.zeros(1))
    # A quarter turn moves pixels and, with six orientations 30 degrees apart, every index by three.
    turned = (torch.rot90(index, -1, (0, 1)) + 3) % 6
    found = histograms(turned, centre, 27, 3, 6, torch.tensor([math.pi / 2]))
    torch.testing.assert_close(found, upright)


def test_shift_of_all_indices_is_undone_only_with_an_angle():
    index = index_map(2)
    index[10:40, 10:40] = 1
    at = torch.tensor([[30.0, 25.0]])
    shifted = (index + 4) % 6
    torch.testing.assert_close(
        histograms(shifted, at, 24, 4, 6, torch.zeros(1)), histograms(index, at, 24, 4, 6, torch.zeros(1))
    )
    assert (histograms(shifted, at, 24, 4, 6) - histograms(index, at, 24, 4, 6)).abs().max() > 0.05


@pytest.mark.parametrize("degrees", [0, 40, 135, 260])
def test_main_orientation_follows_a_ramp(degrees):
    grid = geometry.pixel_grid((41, 41))
    angle = math.radians(degrees)
    ramp = (grid[:, 0] * math.cos(angle) + grid[:, 1] * math.sin(angle)).reshape(41, 41)
    which, found = main_orientations(ramp, torch.tensor([[20.0, 20.0], [12.0, 25.0]]), 16)
    assert which.tolist() == [0, 1]
    away = torch.remainder(found - angle + math.pi, 2 * math.pi) - math.pi
    assert away.abs().max() < math.radians(7.6)  # half of a bin


def test_main_orientations_agree_with_a_loop():
    moment = torch.rand(40, 40, generator=torch.Generator().manual_seed(3))
    which, angle = main_orientations(moment, torch.tensor([[18.0, 22.0]]), 12)
    padded = np.pad(moment.double().numpy(), 1, mode="edge")
    votes = np.zeros(24)
    for dy in range(-6, 7):
        for dx in range(-6, 7):
            if dx * dx + dy * dy > 36:
                continue
            n = padded[22 + dy : 25 + dy, 18 + dx : 21 + dx]
            gx = n[:, 2] @ [1, 2, 1] - n[:, 0] @ [1, 2, 1]
            gy = n[2] @ [1, 2, 1] - n[0] @ [1, 2, 1]
            bin_ = round(math.atan2(gy, gx) * 24 / (2 * math.pi)) % 24
            votes[bin_] += math.hypot(gx, gy) * math.exp(-(dx * dx + dy * dy) / (2 * 2.0**2))
    smooth = np.array([np.dot([1, 4, 6, 4, 1], [votes[(b + k) % 24] for k in range(-2, 3)]) / 16 for b in range(24)])
    expected = []
    for b in range(24):
        low, mid, high = smooth[b - 1], smooth[b], smooth[(b + 1) % 24]
        if mid > low and mid > high and mid > 0.8 * smooth.max():
            expected.append((b + 0.5 * (low - high) / (low + high - 2 * mid)) * 2 * math.pi / 24)
    assert which.tolist() == [0] * len(expected)
    np.testing.assert_allclose(angle.numpy(), expected, atol=1e-3)


def test_contrast_that_defeats_sift_does_not_matter():
    source, target, truth = batch_of(3, 12, 128)
    bent = 0.5 + 0.5 * torch.sin(3 * math.pi * target)  # not monotone: bright and dark change places
    found = RIFT(RIFTConfig(), PairInfo()).register(source, bent)
    assert found.ok.all()
    assert geometry.corner_error(found.displacement, truth).max() < 3
    sift = SIFT(SIFTConfig(), PairInfo()).register(source, bent)
    assert (geometry.corner_error(sift.displacement, truth) > 3).all()


def test_large_rotation_needs_the_second_version():
    truth = similarity(math.radians(75), 1.0, (2.0, -3.0), 128)
    source, target = pair(2, truth, 128, 90.0)
    upright, turned = (RIFT(RIFTConfig(rotation=r), PairInfo()).register(source, target) for r in (False, True))
    assert turned.ok.all()
    assert geometry.corner_error(turned.displacement, truth).item() < 2
    assert not upright.ok.any() or geometry.corner_error(upright.displacement, truth).item() > 10


def test_passes_refine():
    source, target, truth = batch_of(4, 20, 128, seed=20)
    first, last = (
        geometry.corner_error(RIFT(RIFTConfig(patches=p), PairInfo()).register(source, target).displacement, truth)
        for p in ((48,), (48, 48, 36))
    )
    assert last.median() < first.median()


def test_published_preset_describes_the_published_patch():
    preset = RIFTConfig(**RIFTConfig.presets["published"])
    assert (preset.patches, preset.cells, preset.orientations, preset.scales) == ((96,), 6, 6, 4)
    source, target = pair(3, torch.full((1, 4, 2), 4.0), 192, 60.0)
    found = RIFT(preset, PairInfo()).register(source, target)
    assert (found.displacement - 4).abs().max() < 1


def test_distances_and_neighbours_against_loops():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    expected = np.array([[np.linalg.norm(x - y) for y in b] for x in a])
    np.testing.assert_allclose(euclidean(a, b), expected, atol=1e-6)
    p, q = (rng.integers(0, 256, (n, 4), np.uint8) for n in (5, 8))
    assert hamming(p, q).tolist() == [
        [sum(bin(int(u) ^ int(v)).count("1") for u, v in zip(x, y, strict=True)) for y in q] for x in p
    ]
    best = expected.argmin(axis=1)
    i, j = nearest(expected, mutual=True)
    assert list(zip(i, j, strict=True)) == [(k, best[k]) for k in range(7) if expected[:, best[k]].argmin() == k]
    i, j = nearest(expected, ratio=0.8)
    assert list(i) == [k for k in range(7) if sorted(expected[k])[0] < 0.8 * sorted(expected[k])[1]]
    for shape in ((0, 3), (3, 0)):
        assert all(len(x) == 0 for x in nearest(np.empty(shape), mutual=True))
