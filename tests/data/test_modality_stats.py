"""Statistics of modalities, against images whose values are known."""

import math

import pytest
import torch

from regbench.data.modality_stats import Side, compare, describe, measure_modalities, patches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def white(n=16, side=64, sigma=0.05, seed=0):
    return 0.5 + sigma * torch.randn(n, 1, side, side, generator=generator(seed))


def falling(slope, n=16, side=64):
    """Images whose power falls as frequency to the power ``-slope``."""
    frequency = torch.fft.fftfreq(2 * side)
    radius = torch.hypot(frequency[:, None], frequency).clamp_min(1 / (2 * side))
    spectrum = torch.fft.fft2(torch.randn(n, 1, 2 * side, 2 * side, generator=generator())) * radius ** (-slope / 2)
    images = torch.fft.ifft2(spectrum).real[..., :side, :side]
    return 0.5 + 0.1 * images / images.std()


def test_an_image_and_its_negative_share_all_but_the_sign():
    images = falling(2)
    same, negative = compare(images, images), compare(images, 1 - images)
    assert (same.grey, same.grey_signed, same.mim) == pytest.approx((1, 1, 1), abs=1e-3)
    assert (negative.grey, negative.grey_signed, negative.mim) == pytest.approx((1, -1, 1), abs=1e-3)
    assert (same.edges, negative.edges) == pytest.approx((1, 1), abs=1e-3)


def test_contrast_reversed_in_half_of_the_patches_shows_in_the_sign_alone():
    images = falling(2)
    half = torch.cat([images[:8], 1 - images[8:]])
    told = compare(images, half)
    assert told.grey == pytest.approx(1, abs=1e-3)
    assert told.grey_signed == pytest.approx(0, abs=1e-3)


def test_unrelated_images_share_nothing():
    told = compare(white(64), white(64, seed=1))
    assert max(abs(value) for value in (told.grey_signed, told.mim, told.edges)) < 0.03


def test_the_correlation_is_that_of_the_mixture():
    a, other = white(), white(seed=1)
    b = 0.5 + 0.6 * (a - 0.5) + 0.8 * (other - 0.5)
    assert compare(a, b).grey == pytest.approx(0.6, abs=0.02)


def test_white_noise():
    told = describe(white(sigma=0.05))
    assert told.mean == pytest.approx(0.5, abs=0.002)
    assert told.contrast == pytest.approx(0.05, rel=0.02)
    assert told.noise == pytest.approx(0.05, rel=0.05)
    assert told.slope == pytest.approx(0, abs=0.1)
    # White noise has equal power everywhere: a band's share is its area, of a circle of its frequency.
    inside = [math.pi / wave**2 for wave in (4, 8, 16)]
    areas = (1 - inside[0], inside[0] - inside[1], inside[1] - inside[2], inside[2])
    assert told.bands == pytest.approx(areas, abs=0.01)


def test_noise_is_not_what_planes_and_straight_edges_hold():
    ramp = (torch.arange(64.0) / 64).expand(1, 1, 64, 64) * 0.5
    step = (torch.arange(64) > 30).float().expand(1, 1, 64, 64) * 0.5 + 0.2
    assert describe(torch.cat([ramp, ramp.mT, step, step.mT])).noise == pytest.approx(0, abs=1e-6)
    noisy = step + white(sigma=0.02) - 0.5
    assert describe(noisy).noise == pytest.approx(0.02, rel=0.06)


@pytest.mark.parametrize("looks", [4, 16])
def test_speckle_is_one_over_the_looks(looks):
    gamma = torch.distributions.Gamma(float(looks), float(looks))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        speckle = gamma.sample((64, 1, 64, 64))
    field = torch.where(torch.arange(64) < 20, 0.15, 0.3)  # an edge between two fields is no speckle
    assert describe(field * speckle).speckle == pytest.approx(1 / looks, rel=0.1)


def test_patchiness_is_how_much_the_local_variance_varies():
    # The logarithm of the variance of 64 normal values has variance 2 / 63, about.
    assert describe(white(64)).patchiness == pytest.approx(math.sqrt(2 / 63), rel=0.05)
    gain = torch.where(torch.arange(64) < 32, 0.5, 2.0)  # 16 times the variance on one half
    expected = math.sqrt((math.log(16) / 2) ** 2 + 2 / 63)
    assert describe(0.5 + (white(64, sigma=0.03) - 0.5) * gain).patchiness == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("slope", [1.0, 2.0, 3.0])
def test_the_slope_of_a_spectrum_that_falls_as_a_power(slope):
    assert describe(falling(slope)).slope == pytest.approx(slope, abs=0.15)


@pytest.mark.parametrize(("wave", "band"), [(2.5, 0), (5.5, 1), (11, 2), (21, 3)])
def test_a_wave_lies_in_its_band(wave, band):
    image = 0.5 + 0.2 * torch.sin(torch.arange(64.0) * 2 * math.pi / wave).expand(1, 1, 64, 64)
    bands = describe(image).bands
    assert bands[band] > 0.93
    assert sum(bands) == pytest.approx(1, abs=1e-3)


def test_flat_patches_count_for_nothing():
    flat, images = torch.full((4, 1, 64, 64), 0.5), falling(2, 4)
    assert compare(flat, images).grey is None
    assert describe(flat) == Side(0.5, 0, 0, 0, 0, None, None)
    mixed, alone = compare(torch.cat([flat, images]), torch.cat([images, images])), compare(images, images)
    assert mixed == alone


def test_patches_lie_where_both_images_are_seen():
    images = torch.arange(2.0)[:, None, None, None].expand(2, 1, 192, 192)
    everywhere = torch.ones(2, 1, 192, 192)
    assert patches(images, everywhere, 64).flatten(1).mean(1).tolist() == [0, 1] * 4
    assert len(patches(images, everywhere, 128)) == 2
    part = everywhere.clone()
    part[0, :, :, :40] = 0  # hides the left quarters of the first
    part[1, :, 60, :] = 0
    part[1, :, 131, :] = 0  # the second shows its central patch alone
    assert sorted(patches(images, part, 64).flatten(1).mean(1).tolist()) == [0, 0, 1]
    assert len(patches(images, part, 128)) == 0
    assert len(patches(images[..., :40, :40], everywhere[..., :40, :40], 64)) == 0


def test_scales_that_hardly_any_pair_shows_are_left_out():
    a = falling(2, 4, 96)
    told = measure_modalities([(a[:2], a[:2], torch.ones(2, 1, 96, 96)), (a[2:], a[2:], torch.ones(2, 1, 96, 96))])
    assert [(entry["patch"], entry["reduce"], entry["patches"]) for entry in told] == [(64, 1, 4), (64, 2, 4)]
    assert told[0]["shared"]["mim"] == 1
    alone = measure_modalities([(a, a, torch.ones(4, 1, 96, 96))], together=False)
    assert alone[0]["shared"] is None
