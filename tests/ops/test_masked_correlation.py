"""Masked correlation equals the sums it stands for, shift by shift."""

import pytest
import torch

from regbench.ops import masked_correlation, masked_spectrum


def fields():
    generator = torch.Generator().manual_seed(0)
    made = []
    for size in ((6, 7), (9, 8)):
        mask = (torch.rand(2, 1, *size, generator=generator) > 0.3).float()
        made.append((torch.randn(2, 3, *size, generator=generator) * mask, mask))
    return made


def surfaces():
    size = [15, 15]
    spectra = [masked_spectrum(field, mask, size) for field, mask in fields()]
    return masked_correlation(*spectra, size)


@pytest.mark.parametrize("shift", [(0, 0), (3, 1), (-2, 4), (-5, -6), (8, 7)])
def test_every_shift_is_the_sum_over_what_both_know(shift):
    (a, ma), (b, mb) = fields()
    dy, dx = shift
    expected = torch.zeros(4, 2)
    for y in range(6):
        for x in range(7):
            if 0 <= y + dy < 9 and 0 <= x + dx < 8:
                one, other = a[:, :, y, x], b[:, :, y + dy, x + dx]
                known, theirs = ma[:, 0, y, x], mb[:, 0, y + dy, x + dx]
                terms = (
                    (one * other).sum(1), one.square().sum(1) * theirs, other.square().sum(1) * known, known * theirs,
                )  # fmt: skip
                expected += torch.stack(terms)
    found = torch.stack([surface[:, dy, dx] for surface in surfaces()])
    assert torch.allclose(found, expected, atol=1e-4)


def test_agreement_is_normalised_and_zero_where_little_is_known():
    found = surfaces()
    agreement = found.agreement(1e-3)
    assert agreement.abs().max() <= 1 + 1e-5
    assert (agreement[found.common < 0.5] == 0).all()
    field, mask = fields()[0]
    spectrum = masked_spectrum(field, mask, [15, 15])
    assert torch.allclose(masked_correlation(spectrum, spectrum, [15, 15]).agreement(1e-3)[:, 0, 0], torch.ones(2))
