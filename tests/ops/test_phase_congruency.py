"""Phase congruency against its definition in plain loops, and what makes it worth computing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from regbench.ops.log_gabor import PAD, amplitudes
from regbench.ops.phase_congruency import phase_congruency


def pictures(count: int = 2, side: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, side // 5, side // 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def oracle(grey: np.ndarray, mult: float, noise: float, cut_off: float, gain: float) -> tuple[np.ndarray, ...]:
    """Kovesi's measure at every pixel, written from the paper: filters, then loops over pixels and scales."""
    image = np.pad(255.0 * grey, PAD, mode="reflect")
    h, w = image.shape
    spectrum = np.fft.fft2(image)
    fy, fx = np.meshgrid(np.fft.fftfreq(h), np.fft.fftfreq(w), indexing="ij")
    radius, theta = np.hypot(fx, fy), np.arctan2(-fy, fx)
    radius[0, 0] = 1
    congruency, sums = np.zeros((6, h, w)), np.zeros((6, h, w))
    for o in range(6):
        away = np.abs(np.arctan2(np.sin(theta - o * math.pi / 6), np.cos(theta - o * math.pi / 6)))
        spread = (1 + np.cos(np.minimum(away * 3, math.pi))) / 2
        response = []
        for s in range(4):
            radial = np.exp(-(np.log(radius * 3 * mult**s) ** 2) / (2 * math.log(0.75) ** 2))
            radial /= 1 + (radius / 0.45) ** 30
            radial[0, 0] = 0
            response.append(np.fft.ifft2(spectrum * radial * spread))
        finest = np.sort(np.abs(response[0]), axis=None)
        tau = finest[(finest.size - 1) // 2] / math.sqrt(math.log(4))
        total_tau = sum(tau / mult**s for s in range(4))
        threshold = total_tau * (math.sqrt(math.pi / 2) + noise * math.sqrt((4 - math.pi) / 2))
        for y in range(h):
            for x in range(w):
                values = [complex(r[y, x]) for r in response]
                mean = sum(values)
                phase = math.atan2(mean.imag, mean.real)
                energy = 0.0
                for value in values:
                    deviation = math.atan2(value.imag, value.real) - phase
                    energy += abs(value) * (math.cos(deviation) - abs(math.sin(deviation)))
                amplitude = sum(abs(v) for v in values)
                width = (amplitude / max(abs(v) for v in values) - 1) / 3
                weight = 1 / (1 + math.exp((cut_off - width) * gain))
                congruency[o, y, x] = weight * max(energy - threshold, 0) / amplitude
                sums[o, y, x] = amplitude
    angle = np.arange(6) * math.pi / 6
    maximum, minimum = np.zeros((h, w)), np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            v = congruency[:, y, x, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            maximum[y, x], minimum[y, x] = np.linalg.eigvalsh(v.T @ v / 3)[::-1]
    inner = (slice(PAD, -PAD), slice(PAD, -PAD))
    return maximum[inner], minimum[inner], sums[(slice(None), *inner)]


@pytest.mark.parametrize("settings", [(1.6, 1.0, 0.5, 3.0), (2.1, 2.0, 0.4, 10.0)])
def test_agrees_with_the_definition_in_loops(settings):
    image = pictures(1, 30)
    mult, noise, cut_off, gain = settings
    found = phase_congruency(image, mult=mult, noise=noise, cut_off=cut_off, gain=gain)
    maximum, minimum, sums = oracle(image[0, 0].double().numpy(), *settings)
    np.testing.assert_allclose(found.maximum[0, 0].numpy(), maximum, atol=2e-4)
    np.testing.assert_allclose(found.minimum[0, 0].numpy(), minimum, atol=2e-4)
    np.testing.assert_allclose(found.amplitude[0].numpy(), sums, rtol=1e-3, atol=1e-2)
    assert maximum.max() > 0.05


def test_amplitudes_are_those_of_the_bank():
    image = pictures()
    torch.testing.assert_close(phase_congruency(image).amplitude, amplitudes(255 * image), rtol=1e-4, atol=1e-2)


def test_maximum_marks_edges_and_minimum_marks_corners():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 20:44, 20:44] = 1
    found = phase_congruency(image)
    side, corner, middle = (
        (slice(30, 34), slice(18, 22)),
        (slice(17, 23), slice(17, 23)),
        (slice(30, 34), slice(30, 34)),
    )
    edge, silent = found.maximum[0, 0][side].max(), found.maximum[0, 0][middle].max()
    assert edge > 0.2
    assert silent < 0.1 * edge
    assert found.minimum[0, 0][corner].max() > 3 * found.minimum[0, 0][side].max().clamp_min(0.01)


def test_contrast_hardly_matters():
    image = pictures()
    full, weak = phase_congruency(image).maximum, phase_congruency(0.2 * image + 0.4).maximum
    torch.testing.assert_close(full, weak, atol=5e-3, rtol=0)
    torch.testing.assert_close(full, phase_congruency(1 - image).maximum, atol=5e-3, rtol=0)


def test_flat_image_is_finite_and_silent():
    found = phase_congruency(torch.full((2, 1, 32, 40), 0.3))
    assert found.maximum.abs().max() < 1e-3
    assert found.minimum.abs().max() < 1e-3
    assert found.amplitude.isfinite().all()


def test_batch_invariance_and_shapes():
    image = pictures(3)
    whole, one = phase_congruency(image), phase_congruency(image[1:2])
    assert whole.maximum.shape == whole.minimum.shape == (3, 1, 40, 40)
    assert whole.amplitude.shape == (3, 6, 40, 40)
    torch.testing.assert_close(whole.maximum[1:2], one.maximum, atol=1e-4, rtol=1e-3)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        phase_congruency(torch.zeros(2, 3, 48, 48))
    with pytest.raises(ValueError, match="two scales"):
        phase_congruency(torch.zeros(2, 1, 48, 48), scales=1)
