"""The PatchGAN: published sizes, its receptive field, the smallest patch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regbench.ops import PatchGAN, check_patchgan


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
    check_patchgan(least, layers)
    assert PatchGAN(1, 2, layers)(torch.rand(1, 1, least, least)).isfinite().all()
    with pytest.raises(ValueError, match="critic_layers"):
        check_patchgan(least - 1, layers)


def test_a_conditional_patchgan_sees_the_stack_of_its_images():
    with torch.device("meta"):
        assert sum(p.numel() for p in PatchGAN(6, antialias=False).parameters()) == 2_767_809
    network = PatchGAN(4, 2, 2)
    first, second = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    assert torch.equal(network(first, second), network(torch.cat([first, second], dim=1)))
    assert not torch.equal(network(first, second), network(second, first))


def test_the_setting_to_change_is_named():
    with pytest.raises(ValueError, match=r"at least 96 px, got 64: take fewer strategy\.layers"):
        check_patchgan(64, 5, "strategy.layers")
