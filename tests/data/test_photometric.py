"""The distortion of PDS-COCO: OpenCV is the oracle of its colour space, the sampler draws it anew at every visit."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from regbench.data.manifest import test_manifest as make_manifest
from regbench.data.photometric import DELTA, DISTORTIONS, ORDERS, Colours, Distortion, draw_colours, from_hsv, to_hsv
from regbench.data.protocol import Protocol
from regbench.data.sampler import PairSampler
from regbench.data.test_pairs import TestPairs
from regbench.errors import DataError


def colours(**changes):
    neutral = {"brightness": 0.0, "contrast": 1.0, "contrast_first": True, "saturation": 1.0, "hue": 0.0}
    values = {name: torch.tensor([value]) for name, value in (neutral | changes).items() if name != "order"}
    return Colours(**values, order=changes.get("order", ORDERS[:1]))


@pytest.fixture(scope="module")
def images():
    return torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))


def published(image, c):
    """The recipe with OpenCV, on the scale 0..255, as RGB float32."""
    x = image[0].permute(1, 2, 0).numpy() * 255
    x = x + float(c.brightness) * 255
    if c.contrast_first:
        x = x * float(c.contrast)
    hsv = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 1] *= float(c.saturation)
    hsv[..., 0] = (hsv[..., 0] + float(c.hue)) % 360
    x = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if not c.contrast_first:
        x = x * float(c.contrast)
    return np.clip(x[..., c.order[0].numpy()] / 255, 0, 1)


@pytest.mark.parametrize("changes", [
    {},
    {"brightness": 0.1},
    {"brightness": -0.12, "saturation": 1.4},
    {"contrast": 1.3, "saturation": 0.6, "hue": 16.0},
    {"contrast": 1.3, "saturation": 0.6, "hue": -16.0, "contrast_first": False},
    {"order": ORDERS[3:4], "hue": 5.0},
])  # fmt: skip
def test_as_published(images, changes):
    c = colours(**changes)
    found = c.apply(images)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, published(images, c), atol=2e-4)


def test_nothing_drawn_changes_nothing(images):
    torch.testing.assert_close(colours().apply(images), images, atol=1e-5, rtol=0)


def test_colour_space_there_and_back(images):
    torch.testing.assert_close(from_hsv(*to_hsv(images)), images, atol=1e-5, rtol=0)


def test_ranges_and_probabilities():
    n = 20_000
    c = draw_colours(n, torch.Generator().manual_seed(0))
    assert c.brightness.abs().max() <= DELTA / 255
    assert c.hue.abs().max() <= DELTA / 2
    for values, neutral in ((c.brightness, 0), (c.contrast, 1), (c.saturation, 1), (c.hue, 0)):
        assert abs(float((values == neutral).float().mean()) - 0.5) < 0.02
    for factor in (c.contrast, c.saturation):
        changed = factor[factor != 1]
        assert 0.5 <= changed.min() < 0.51
        assert 1.49 < changed.max() <= 1.5
    same = (c.order == torch.arange(3)).all(1).float().mean()
    assert abs(float(same) - (0.5 + 0.5 / 6)) < 0.02


@pytest.fixture(scope="module")
def distorted(make_pack, smooth_images):
    pictures = smooth_images(4, (60, 60), channels=3)
    return dataclasses.replace(make_pack(pictures, pictures), distortion="pds")


def test_colours_are_new_at_every_visit_and_shared_by_self_pairs(distorted):
    protocol = Protocol(patch=32, rho=8, oversample=1)
    sampler = PairSampler(distorted, protocol, seed=0)
    first, second = (sampler.batch("s", step, 16, ("pair", "self_source")) for step in (0, 1))
    again = PairSampler(distorted, protocol, seed=0).batch("s", 0, 16, ("pair",))
    assert torch.equal(first.pair.source, again.pair.source)
    looks = torch.cat([first.pair.target, second.pair.target]).mean((2, 3))
    assert len(looks.unique(dim=0)) > 16  # four frozen pairs, met 32 times
    # A self-pair is one picture in one look: its two images agree where the warp is small, unlike source and target.
    image, warped = first.self_source.image, first.self_source.warped
    own = (image.mean((2, 3)) - warped.mean((2, 3))).abs().mean()
    other = (first.pair.source.mean((2, 3)) - first.pair.target.mean((2, 3))).abs().mean()
    assert own < other / 2


def test_test_pairs_keep_their_colours(distorted):
    protocol = Protocol(patch=32, rho=8)
    manifest = make_manifest(distorted, protocol)
    sets = [TestPairs(distorted, make_manifest(distorted, protocol), protocol).images(6, 10) for _ in range(2)]
    assert torch.equal(sets[0][0], sets[1][0])
    assert torch.equal(sets[0][1], sets[1][1])
    assert manifest.draws.colours is not None
    plain = dataclasses.replace(distorted, distortion="none")
    same = TestPairs(plain, make_manifest(plain, protocol), protocol).images(0, 20)
    seen = TestPairs(distorted, manifest, protocol).images(0, 20)
    assert not torch.allclose(same[1], seen[1], atol=0.02)


class Negative(Distortion):
    """Another distortion than PDS-COCO's: every image in negative."""

    def __init__(self, count):
        self.count = count

    def __getitem__(self, which):
        return self

    def apply(self, images):
        return 1 - images


def test_any_distortion_can_be_registered(distorted, monkeypatch):
    monkeypatch.setitem(DISTORTIONS, "negative", lambda count, generator: Negative(count))
    protocol = Protocol(patch=32, rho=8)
    plain, negative = (
        TestPairs(pack, make_manifest(pack, protocol), protocol).images(0, 4)
        for pack in (dataclasses.replace(distorted, distortion=name) for name in ("none", "negative"))
    )
    for image, inverted in zip(plain, negative, strict=True):
        torch.testing.assert_close(inverted, 1 - image, atol=1e-5, rtol=0)


def test_an_unknown_distortion_is_one_line(distorted):
    pack = dataclasses.replace(distorted, distortion="pdx")
    with pytest.raises(DataError, match="unknown colour distortion 'pdx': did you mean 'pds'"):
        make_manifest(pack, Protocol(patch=32, rho=8))
