"""Translations are judged against the aligned target, beside the copies they have to beat."""

from __future__ import annotations

import pytest
import torch

from regbench import PairInfo, Translator, geometry
from regbench.api.config import ComponentConfig
from regbench.data.manifest import test_manifest as manifest_of
from regbench.data.protocol import Protocol
from regbench.data.sampler import pair_info
from regbench.data.test_pairs import TestPairs
from regbench.evaluation.translation import assess_translation
from regbench.testing.training import tiny_pack

PROTOCOL = Protocol(patch=32, rho=8)


@pytest.fixture(scope="module")
def test_pairs() -> TestPairs:
    pack = tiny_pack()
    return TestPairs(pack, manifest_of(pack, PROTOCOL), PROTOCOL)


class Hands(Translator):
    """Hands on what it is told to, pair after pair."""

    def __init__(self, info: PairInfo, choose) -> None:
        super().__init__(ComponentConfig(), info)
        self.choose, self.start = choose, 0

    def translate(self, source, target, *, generator=None):
        found = self.choose(source, target, self.start)
        self.start += len(source)
        return found


def judged(test_pairs: TestPairs, choose) -> dict:
    return assess_translation(test_pairs, Hands(pair_info(tiny_pack(), PROTOCOL), choose))


def test_the_aligned_target_lies_on_the_source(test_pairs):
    """Pushed forward by the label it is the target, where that is seen."""
    truth, (_, target) = test_pairs.aligned_target(0, 8), test_pairs.images(0, 8)
    h = geometry.homography_from_displacement(test_pairs.manifest.draws[slice(0, 8)].displacement, (32, 32))
    seen = geometry.warp(torch.ones_like(truth[:, :1]), h) > 0.999
    off = (geometry.warp(truth, h) - target).abs() * seen
    unaligned = (truth - target).abs() * seen
    assert off.sum() / seen.sum() < 0.3 * unaligned.sum() / seen.sum()


def test_a_perfect_translation_has_no_distance_and_beats_both_copies(test_pairs):
    found = judged(test_pairs, lambda source, target, start: test_pairs.aligned_target(start, start + len(source)))
    for distance in ("l1", "perceptual"):
        assert found[distance]["translation"]["value"] == pytest.approx(0, abs=1e-6)
        assert found[distance]["minus_source"]["value"] < 0
        assert found[distance]["minus_target"]["value"] < 0
    assert found["features"]["backend"] in ("random", "lpips-vgg16")


def test_copies_are_told_by_what_they_follow(test_pairs):
    source = judged(test_pairs, lambda source, target, start: source)
    assert source["follows_source"]["value"] == pytest.approx(1)
    assert source["follows_source"]["value"] > source["follows_target"]["value"]
    target = judged(test_pairs, lambda source, target, start: target)
    assert target["follows_target"]["value"] == pytest.approx(1)
    assert target["l1"]["minus_target"]["value"] == pytest.approx(0)
    assert target["l1"]["translation"]["n"] == len(test_pairs)
