"""Blocks of the adversarial translators against closed forms and loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regbench_translators._blocks.gan import critic_loss, generator_loss
from regbench_translators._blocks.initial import initialise
from regbench_translators._blocks.nce import PatchSampler, patch_nce
from regbench_translators._blocks.patchgan import PatchGAN, check_patch
from regbench_translators._blocks.pool import ImagePool
from regbench_translators._blocks.resnet import ResNetGenerator, check_taps
from regbench_translators._blocks.sampling import BlurDown, blur_up


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_blurred_halving_is_a_binomial_at_even_pixels():
    x = torch.rand(1, 2, 8, 6, generator=seeded())
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    weights = [1, 2, 1]
    expected = torch.zeros(1, 2, 4, 3)
    for row in range(4):
        for column in range(3):
            for i, a in enumerate(weights):
                for j, b in enumerate(weights):
                    expected[..., row, column] += a * b / 16 * padded[..., 2 * row + i, 2 * column + j]
    torch.testing.assert_close(BlurDown()(x), expected)


def test_blurred_doubling_is_the_published_transposed_convolution():
    x = torch.rand(2, 3, 5, 7, generator=seeded())
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(line, line) / 64 * 4).expand(3, 1, -1, -1)
    whole = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=3)
    torch.testing.assert_close(blur_up()(x), whole[..., 3:-3, 3:-3])


@pytest.mark.parametrize(("antialias", "upsampled"), [(True, 2), (False, 0)])
def test_generators_of_both_kinds_have_the_published_size(antialias, upsampled):
    with torch.device("meta"):
        network = ResNetGenerator(3, 3, antialias=antialias)
    assert sum(p.numel() for p in network.parameters()) == 11_378_179
    assert sum(isinstance(m, nn.Upsample) for m in network.modules()) == upsampled
    image = torch.empty(1, 3, 128, 128, device="meta")
    assert network(image).shape == image.shape


def test_features_are_those_of_the_published_layers():
    network = ResNetGenerator(3, 3, width=4)
    image = torch.rand(2, 3, 32, 32, generator=seeded())
    found = network.features(image, (0, 4, 8, 12, 16))
    assert [tuple(f.shape[1:]) for f in found] == [(3, 38, 38), (8, 32, 32), (16, 16, 16), (16, 8, 8), (16, 8, 8)]
    assert [network.channels[i] for i in (0, 4, 8, 12, 16)] == [3, 8, 16, 16, 16]
    torch.testing.assert_close(found[0], F.pad(image, (3, 3, 3, 3), mode="reflect"))
    # Layer 4 is a convolution's result, before it is normalised.
    means = found[1].mean(dim=(2, 3))
    assert (means.abs() > 1e-4).any()
    whole = network.encoder(image)
    torch.testing.assert_close(network.features(image, (len(network.encoder) - 1,))[0], whole)


def test_layers_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="0 to 13"):
        check_taps((0, 4, 16), 14)


def test_patchgan_judges_patches_of_70_pixels():
    network = PatchGAN(1, width=4, antialias=False).double()
    for number, layer in enumerate(network.layers):
        if isinstance(layer, nn.InstanceNorm2d):
            network.layers[number] = nn.Identity()  # a norm sees all of the image
        elif isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)  # nothing cancels
    image = torch.ones(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    verdict = network(image)
    verdict[0, 0, 9, 9].backward()
    rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    columns = image.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    assert (len(rows), len(columns)) == (70, 70)
    assert rows[-1] - rows[0] == 69


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("side", "verdicts"), [(128, 14), (256, 30)])
def test_patchgan_has_the_published_size_and_map(antialias, side, verdicts):
    with torch.device("meta"):
        network = PatchGAN(3, antialias=antialias)
    assert sum(p.numel() for p in network.parameters()) == 2_764_737
    image = torch.empty(1, 3, side, side, device="meta")
    assert network(image).shape == (1, 1, verdicts, verdicts)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_smallest_patch_of_a_patchgan_works_and_less_is_refused(layers):
    least = 3 * 2**layers
    check_patch(least, layers)
    assert PatchGAN(1, 2, layers)(torch.rand(1, 1, least, least)).isfinite().all()
    with pytest.raises(ValueError, match="critic_layers"):
        check_patch(least - 1, layers)


def test_least_squares_losses():
    real, fake = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])
    assert float(critic_loss(real, fake)) == pytest.approx(0.5 + 5.0)
    assert float(generator_loss(fake)) == pytest.approx(2.0)


def test_other_losses_equal_their_definitions():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, -0.2])
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    log_likelihood = -sum(math.log(sigmoid(float(r))) for r in real) / 2
    log_likelihood -= sum(math.log(1 - sigmoid(float(f))) for f in fake) / 2
    assert float(critic_loss(real, fake, "ns")) == pytest.approx(log_likelihood, rel=1e-5)
    assert float(generator_loss(fake, "ns")) == pytest.approx(
        -sum(math.log(sigmoid(float(f))) for f in fake) / 2, rel=1e-5
    )
    assert float(critic_loss(real, fake, "hinge")) == pytest.approx((0.7 + 3.0) / 2 + (2.5 + 0.8) / 2)
    assert float(generator_loss(fake, "hinge")) == pytest.approx(-0.65)


def test_a_pool_fills_first_and_then_swaps_half_of_the_time():
    pool, generator = ImagePool(50, (1, 1, 1)), seeded()
    kept: list[float] = []
    returned_old = 0
    for step in range(450):
        new = float(step + 1)
        handed = float(pool.swap(torch.full((1, 1, 1, 1), new), step, generator))
        if step < 50:
            assert handed == new
            kept.append(new)
        elif handed != new:
            returned_old += 1
            kept[kept.index(handed)] = new  # it was stored, and is not any more
        assert sorted(pool.images.flatten()[: len(kept)].tolist()) == sorted(kept)
    assert 160 < returned_old < 240  # of 400, with probability one half


def test_a_pool_takes_whole_batches_and_passes_no_gradient():
    pool, generator = ImagePool(3, (1, 2, 2)), seeded()
    for step in range(20):
        fakes = (torch.arange(2.0) + 2 * step).view(2, 1, 1, 1).expand(-1, -1, 2, 2).clone().requires_grad_()
        handed = pool.swap(fakes, step, generator)
        assert not handed.requires_grad
        assert handed.shape == fakes.shape
        if step > 1:  # full: what is handed out is not kept
            assert not set(handed[:, 0, 0, 0].tolist()) & set(pool.images[:, 0, 0, 0].tolist())
    assert ImagePool(0, (1, 2, 2)).swap(fakes, 0, generator).equal(fakes)


def test_patch_nce_equals_a_loop_with_the_published_diagonal():
    queries, keys = (F.normalize(torch.randn(2, 7, 5, generator=seeded(s)), dim=-1) for s in (0, 1))
    losses = []
    for b in range(2):
        for i in range(7):
            positive = float(queries[b, i] @ keys[b, i])
            others = [-10.0 if j == i else float(queries[b, i] @ keys[b, j]) for j in range(7)]
            logits = [x / 0.07 for x in [positive, *others]]
            highest = max(logits)
            losses.append(highest + math.log(sum(math.exp(x - highest) for x in logits)) - logits[0])
    assert float(patch_nce(queries, keys)) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_patch_nce_of_equal_codes_is_chance_and_passes_keys_no_gradient():
    codes = torch.ones(2, 6, 4) / 2
    assert float(patch_nce(codes, codes)) == pytest.approx(math.log(6), rel=1e-6)
    queries, keys = (torch.randn(1, 6, 4, generator=seeded(s)).requires_grad_() for s in (0, 1))
    patch_nce(queries, keys).backward()
    assert queries.grad.abs().sum() > 0
    assert keys.grad is None


def test_the_sampler_reads_the_same_places_of_every_image():
    sampler = PatchSampler([3, 2], width=4, patches=10)
    sampler.heads = nn.ModuleList([nn.Identity(), nn.Identity()])
    features = [torch.rand(2, 3, 5, 6, generator=seeded()), torch.rand(2, 2, 2, 3, generator=seeded(1))]
    places = sampler.draw(features, seeded(2))
    assert [len(p) for p in places] == [10, 6]  # as many as there are
    assert all(len(set(p.tolist())) == len(p) for p in places)
    for feature, where, codes in zip(features, places, sampler(features, places), strict=True):
        for b in range(2):
            for n, place in enumerate(where.tolist()):
                row, column = divmod(place, feature.shape[-1])
                pixel = feature[b, :, row, column]
                torch.testing.assert_close(codes[b, n], pixel / (pixel.norm() + 1e-7))


def test_published_initial_weights():
    network = nn.Sequential(nn.Conv2d(64, 64, 3), nn.Linear(300, 200))
    fans = {"xavier": (0.02 * math.sqrt(2 / (2 * 64 * 9)), 0.02 * math.sqrt(2 / 500)), "normal": (0.02, 0.02),
            "kaiming": (math.sqrt(2 / (64 * 9)), math.sqrt(2 / 300))}  # fmt: skip
    for how, expected in fans.items():
        torch.manual_seed(0)
        initialise(network, how)
        for layer, deviation in zip(network, expected, strict=True):
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.03)
            assert not layer.bias.any()
