"""Phase correlation: similarities to a fraction of a pixel, whole turns, scales."""

import math

import pytest
import torch

from regbench import PairInfo, geometry
from regbench_matchers.phase_correlation import PhaseCorrelation, PhaseCorrelationConfig
from tests.plugins.matchers.scenes import pair, similarity, textured


@pytest.fixture(scope="module")
def fourier():
    return PhaseCorrelation(PhaseCorrelationConfig(), PairInfo())


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [
        (0, 1.0, (9.25, -14.5)),
        (12, 1.0, (3.0, 5.0)),
        (-31, 0.9, (-6.0, 2.5)),
        (0, 1.2, (0.0, 0.0)),
        (5, 0.8, (8.0, 8.0)),
    ],
)
def test_similarity_is_found_to_a_third_of_a_pixel(fourier, degrees, scale, shift):
    truth = similarity(math.radians(degrees), scale, shift, 160)
    found = fourier.register(*pair(3, truth, 160, 80.0))
    assert found.ok.all()
    assert geometry.corner_error(found.displacement, truth).item() < 0.34


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_half_turn_of_the_spectrum_is_resolved(fourier, quarter_turns):
    image = textured(4, 160)
    turned = torch.rot90(image, -quarter_turns, (-2, -1))
    corners = geometry.corners((160, 160))
    ring = [0, 1, 3, 2]  # clockwise
    to = [ring[(ring.index(i) + quarter_turns) % 4] for i in range(4)]
    found = fourier.register(image, turned)
    assert found.ok.all()
    assert (found.displacement[0] - (corners[to] - corners)).norm(dim=-1).max() < 0.5


def test_whole_shift_of_a_periodic_image_is_exact(fourier):
    found = fourier.register(textured(5, 128), textured(5, 128).roll((4, -7), (-2, -1)))
    assert (found.displacement - torch.tensor([-7.0, 4.0])).abs().max() < 0.05


def test_answer_does_not_depend_on_gain_offset_and_inversion(fourier):
    source, target = pair(6, similarity(0.1, 1.05, (4.0, -3.0), 128), 128, 80.0)
    first = fourier.register(source, target)
    other = fourier.register(0.5 * source + 0.3, target)
    assert first.ok.all()
    assert torch.allclose(first.displacement, other.displacement, atol=1e-3)


def test_peak_threshold_decides(fourier):
    source, target = pair(6, similarity(0.1, 1.05, (4.0, -3.0), 128), 128, 80.0)
    strict = PhaseCorrelation(PhaseCorrelationConfig(peak=1e4), PairInfo())
    assert fourier.register(source, target).ok.all()
    assert not strict.register(source, target).ok.any()
