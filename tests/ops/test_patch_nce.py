"""PatchNCE against a loop and closed forms; the patch sampler against indexing."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regbench.ops import PatchSampler, nce_over_layers, patch_nce


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_layers_count_alike():
    queries, keys = ([torch.randn(1, n, 4, generator=seeded(s)) for n in (6, 3)] for s in (0, 1))
    expected = (patch_nce(queries[0], keys[0], 0.5) + patch_nce(queries[1], keys[1], 0.5)) / 2
    torch.testing.assert_close(nce_over_layers(queries, keys, 0.5), expected)
    with pytest.raises(ValueError, match="shorter"):
        nce_over_layers(queries, keys[:1])
