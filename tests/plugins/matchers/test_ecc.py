"""ECC: small motions to a fraction of a pixel; the pyramid extends its reach; what diverges fails."""

import torch

from regbench import PairInfo, geometry
from regbench_matchers.ecc import ECC, ECCConfig
from tests.plugins.matchers.scenes import batch_of, moved, pair


def errors(config, rho, count=6):
    source, target, truth = batch_of(count, rho, 128)
    found = ECC(config, PairInfo()).register(source, target)
    error = geometry.corner_error(found.displacement, truth)
    return error, found.ok


def test_small_motions_are_found_to_a_fifth_of_a_pixel():
    error, ok = errors(ECCConfig(), 4)
    assert ok.all()
    assert error.max() < 0.2


def test_pyramid_extends_the_reach():
    truth = torch.tensor([[38.0, -30.0]]).expand(1, 4, 2)
    source, target = pair(0, truth, 192, 60.0)
    near = []
    for levels in (1, 4):
        found = ECC(ECCConfig(levels=levels), PairInfo()).register(source, target)
        near.append(bool((found.displacement - truth).norm(dim=-1).max() < 0.5))
    assert near == [False, True]


def test_corners_beyond_reach_are_failures():
    source, target, truth = batch_of(3, 8, 128)
    largest = truth.abs().flatten(1).amax(dim=1)  # px of 128
    for reach in (0.5 * largest.min().item() / 128, 1.2 * largest.max().item() / 128):
        found = ECC(ECCConfig(reach=reach), PairInfo()).register(source, target)
        assert found.ok.tolist() == (largest < reach * 128).tolist()


def test_least_correlation_decides():
    source, target = pair(0, moved(1, 4), 128, 80.0)
    for least, expected in ((0.5, True), (0.9999, False)):
        assert ECC(ECCConfig(correlation=least), PairInfo()).register(source, target).ok.item() is expected


def test_inverted_contrast_fails_instead_of_aligning_wrongly():
    source, target = pair(1, moved(1, 4), 128, 80.0)
    assert not ECC(ECCConfig(), PairInfo()).register(source, 1 - target).ok.any()
