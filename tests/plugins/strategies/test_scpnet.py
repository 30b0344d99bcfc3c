"""SCPNet's parts against their published size and closed forms."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from regbench import PairInfo, Registration, geometry
from regbench.api.types import Batch, Pair, SelfPair
from regbench.plugins.registry import registry
from regbench.settings import build_config
from regbench.testing.images import textured
from regbench_strategies.blocks.photometric import brightness_contrast, sharpen
from regbench_strategies.scpnet import Projection, SCPNet, SCPNetConfig, consistency, shown

SIZE = (32, 32)


def homography(*displacement) -> torch.Tensor:
    return geometry.homography_from_displacement(torch.tensor(displacement).float().expand(2, 4, 2), SIZE)


def test_published_projection_network():
    assert sum(p.numel() for p in Projection().parameters()) == 312_769
    projected = Projection(8, 1)(torch.rand(2, 3, *SIZE))
    assert projected.shape == (2, 1, *SIZE)
    assert projected.abs().max() <= 1


def test_projections_are_shown_as_grey_images():
    image = shown(torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3))
    assert image.shape == (1, 3, 1, 3)
    assert image[0, 2, 0].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("masked", [False, True])
def test_consistency_is_two_at_the_identity(masked):
    a, b = torch.randn(2, 2, 1, *SIZE).unbind()
    assert float(consistency(a, b, homography(0, 0), masked=masked)) == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_consistency_is_small_where_the_estimate_is_true(masked):
    whole = textured(2, (48, 48))[:, :1]
    a, b = whole[..., 8:40, 8:40], whole[..., 8:40, 5:37]  # b(p + (3, 0)) = a(p)
    true, false = (float(consistency(a, b, homography(dx, 0), masked=masked)) for dx in (3, -3))
    assert true < 1.0 < 2.0 < false


def test_consistency_against_sums_over_pixels():
    a, b = torch.rand(2, 2, 1, *SIZE).unbind()
    moved = consistency(a, b, homography(4, 0))  # whole pixels: no interpolation
    forth = back = before = 0.0
    for n in range(2):
        for y in range(32):
            for x in range(32):
                forth += abs(float(a[n, 0, y, x - 4] if x >= 4 else 0.0) - float(b[n, 0, y, x]))
                back += abs(float(b[n, 0, y, x + 4] if x < 28 else 0.0) - float(a[n, 0, y, x]))
                before += abs(float(a[n, 0, y, x]) - float(b[n, 0, y, x]))
    assert float(moved) == pytest.approx((forth + back) / before, rel=1e-4)


def test_only_the_masked_consistency_gives_nothing_for_pushing_content_out_of_view():
    a, b = torch.randn(2, 2, 1, *SIZE, generator=torch.Generator().manual_seed(0)).unbind()
    away = homography(1000, 0)
    # Zero-mean uncorrelated maps: E|x| / E|x - y| = 1 / sqrt(2), each way.
    assert float(consistency(a, b, away)) == pytest.approx(math.sqrt(2), abs=0.03)
    assert float(consistency(a, b, away, masked=True)) == pytest.approx(2.0, abs=1e-5)


class Recorder(nn.Module):
    """A registrator that says an estimate depending on its input, and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[torch.Tensor] = []

    def forward(self, source, target):
        self.seen.append(source)
        found = self.scale * (source - target).mean(dim=(1, 2, 3)).view(1, -1, 1, 1).expand(1, -1, 4, 2)
        return Registration(found, SIZE)

    def loss(self, found, displacement):
        return (found.displacement - displacement).abs().mean()


def unsupervised_batch():
    batch = Batch(2, 0, torch.Generator().manual_seed(0))
    a, b = torch.rand(2, 2, 3, *SIZE).unbind()
    batch.views["pair"] = Pair(a, b)
    label, mask = torch.ones(2, 4, 2), torch.ones(2, 1, *SIZE)
    batch.views["self_source"] = SelfPair(a, torch.rand_like(a), label, mask)
    batch.views["self_target"] = SelfPair(b, torch.rand_like(b), label, mask)
    return batch


def made(**settings) -> SCPNet:
    strategy = SCPNet(SCPNetConfig(width=4, blocks=1, **settings))
    strategy.registrator, strategy.projection = Recorder(), Projection(4, 1)
    return strategy


def test_the_consistency_teaches_the_projection_through_the_estimate_alone():
    strategy = made(self_weight=0.0)
    strategy._loss(unsupervised_batch(), {})["loss"].backward()
    assert strategy.registrator.scale.grad.abs() > 0
    assert strategy.projection.head.weight.grad.abs().sum() > 0
    strategy = made(self_weight=0.0)
    with torch.no_grad():
        strategy.registrator.scale.zero_()  # the estimate no longer depends on the projections: no way is left
    strategy._loss(unsupervised_batch(), {})["loss"].backward()
    assert strategy.projection.head.weight.grad.abs().sum() == 0


def test_the_loss_is_the_published_sum():
    parts = made(jitter=False)._loss(unsupervised_batch(), {})
    expected = parts["consistency"] + 0.1 * (parts["self_source"] + parts["self_target"])
    torch.testing.assert_close(parts["loss"], expected)


def test_only_the_warped_side_is_jittered():
    batch = unsupervised_batch()
    plain, jittered = made(jitter=False), made()
    jittered.projection = plain.projection
    for strategy in (plain, jittered):
        strategy._loss(batch, {})
    assert torch.equal(plain.registrator.seen[0], jittered.registrator.seen[0])  # the real pair
    assert not torch.equal(plain.registrator.seen[1], jittered.registrator.seen[1])


def test_published_schedule():
    c = SCPNetConfig()
    assert (c.steps, c.batch, c.lr, c.clip, c.self_weight, c.consistency) == (120_000, 8, 4e-4, 1.0, 0.1, "faithful")


def test_exposures_keep_their_range():
    grey = torch.full((64, 3, 4, 4), 0.7)
    found = brightness_contrast(grey, 0.4, 0.4, torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert 0.7 * 0.6**2 <= found.min() < 0.35
    assert found.max() == 1  # 0.7 * 1.4 ** 2, clipped
    torch.testing.assert_close(brightness_contrast(grey, 0.0, 0.0, torch.Generator()), grey)


def test_brightness_is_in_units_of_the_images_mean():
    """albumentations with brightness_by_max=False: gain * x + gain * U(-0.4, 0.4) * mean(x), one image at a time."""
    images = torch.rand(6, 3, 5, 7) * torch.tensor([0.05, 0.1, 0.2, 0.3, 0.4, 0.5]).view(-1, 1, 1, 1)
    found = brightness_contrast(images, 0.4, 0.4, torch.Generator().manual_seed(5))
    gain, offset = torch.rand(2, 6, generator=torch.Generator().manual_seed(5)).numpy()
    for i, image in enumerate(images.double().numpy()):
        alpha, beta = 1 + 0.4 * (2 * gain[i] - 1), 0.4 * (2 * offset[i] - 1)
        expected = alpha * image + alpha * beta * image.mean()
        np.testing.assert_allclose(found[i].numpy(), expected.clip(0, 1), atol=1e-6)
    dark = torch.full((64, 3, 4, 4), 0.05)
    assert brightness_contrast(dark, 0.4, 0.4, torch.Generator().manual_seed(0)).max() < 0.05 * 1.4**2


def test_the_published_registrator_estimates_once_at_every_size():
    component = registry().get("registrator", "scpnet-net")
    assert registry().get("strategy", "scpnet").published["registrator"] == {"scpnet-net"}
    source, target = torch.rand(2, 2, 3, 64, 64).unbind()
    for preset in ("hour", "quick", "smoke", "tiny"):
        network = component.load()(build_config(component, {"preset": preset}), PairInfo(64, 16)).eval()
        found = network(source, target)
        assert found.displacements.shape[0] == 1
        label = torch.randn(2, 4, 2)
        torch.testing.assert_close(network.loss(found, label), (found.displacement - label).abs().mean())


def test_sharpening_is_a_convolution_with_opencv_as_oracle():
    image = textured(40, (16, 16)) * 0.5 + 0.25
    found = sharpen(image, 0.5, torch.Generator().manual_seed(3))
    chosen, weight, centre = torch.rand(3, 40, generator=torch.Generator().manual_seed(3)).numpy()
    for i in range(40):
        kernel = np.full((3, 3), -1.0)
        kernel[1, 1] = 8.5 + 0.5 * centre[i]
        share = (0.2 + 0.3 * weight[i]) if chosen[i] < 0.5 else 0.0
        identity = np.zeros((3, 3))
        identity[1, 1] = 1.0
        expected = cv2.filter2D(
            image[i, 0].numpy(), -1, share * kernel + (1 - share) * identity, borderType=cv2.BORDER_REFLECT_101
        )
        np.testing.assert_allclose(found[i, 0].numpy(), expected.clip(0, 1), atol=2e-4)
    assert 0 < (chosen < 0.5).sum() < 40
