from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from regbench import geometry
from regbench.ops.log_gabor import amplitudes, log_gabor_bank, maximum_index_map, to_grey


def pictures(count: int = 4, side: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, side // 6, side // 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def correlation(a: torch.Tensor, b: torch.Tensor, inner: int = 20) -> float:
    a, b = (x[..., inner:-inner, inner:-inner].flatten().double() for x in (a, b))
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def test_bank_follows_its_formula_at_one_frequency():
    bank = log_gabor_bank(64, 64)
    fx, fy = 5 / 64, -3 / 64  # bin (row 3, column 5): y points down
    radius, theta = math.hypot(fx, fy), math.atan2(fy, fx)
    for o in range(6):
        for s in range(4):
            radial = math.exp(-(math.log(radius * 3 * 1.6**s) ** 2) / (2 * math.log(0.75) ** 2))
            radial /= 1 + (radius / 0.45) ** 30
            away = abs(math.remainder(theta - o * math.pi / 6, 2 * math.pi))
            spread = (1 + math.cos(min(away * 3, math.pi))) / 2
            assert bank[o, s, 3, 5].item() == pytest.approx(spread * radial, abs=1e-6)
    assert (bank[:, :, 0, 0] == 0).all()


@pytest.mark.parametrize("orientation", range(6))
def test_a_grating_answers_in_its_own_orientation(orientation):
    angle = orientation * math.pi / 6
    x = geometry.pixel_grid((96, 96))
    phase = 2 * math.pi / 6.0 * (x[:, 0] * math.cos(angle) - x[:, 1] * math.sin(angle))
    found = amplitudes(torch.sin(phase).reshape(1, 1, 96, 96))
    assert (found.argmax(dim=1)[0, 24:-24, 24:-24] == orientation).all()


def test_amplitude_is_the_modulus_of_a_quadrature_pair():
    x = torch.arange(96.0)
    found = amplitudes(torch.sin(2 * math.pi * x / 6).expand(1, 1, 96, 96))[0, 0, 48, 24:-24]
    assert found.std() / found.mean() < 0.02  # the same at every phase


@pytest.mark.parametrize("kind", ["value", "index", "vector"])
def test_map_lies_in_its_range_and_ignores_gain_offset_and_inversion(kind):
    image = pictures()
    first = maximum_index_map(image, kind)
    assert first.shape == (4, 2 if kind == "vector" else 1, 96, 96)
    assert first.abs().max() <= 1 + 1e-5
    for other in (0.5 * image + 0.2, 1 - image):
        agrees = (maximum_index_map(other, kind) - first).abs() < 1e-2
        assert agrees.float().mean() > 0.99


def test_value_map_moves_with_the_image():
    image = pictures()
    generator = torch.Generator().manual_seed(1)
    h = geometry.homography_from_displacement(8 * torch.rand(4, 4, 2, generator=generator) - 4, (96, 96))
    moved = maximum_index_map(geometry.warp(image, h, padding="reflection"))
    expected = geometry.warp(maximum_index_map(image), h)
    assert min(correlation(a, b) for a, b in zip(moved, expected, strict=True)) > 0.93
    assert max(correlation(a, b) for a, b in zip(moved, expected.flip(0), strict=True)) < 0.5


def test_flat_image_is_finite():
    assert maximum_index_map(torch.full((2, 3, 48, 48), 0.3)).isfinite().all()


def test_gradient_reaches_the_image():
    image = pictures(1).requires_grad_()
    maximum_index_map(image).square().mean().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().sum() > 0


def test_batch_invariance():
    image = pictures()
    torch.testing.assert_close(maximum_index_map(image)[2:3], maximum_index_map(image[2:3]), atol=1e-5, rtol=1e-4)


def test_replicated_grey_stays():
    image = pictures()
    torch.testing.assert_close(to_grey(image.expand(-1, 3, -1, -1)), image, atol=1e-6, rtol=0)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        amplitudes(torch.zeros(2, 3, 48, 48))
    with pytest.raises(ValueError, match="kind"):
        maximum_index_map(pictures(), "values")
    assert np.isfinite(log_gabor_bank(40, 50).numpy()).all()
