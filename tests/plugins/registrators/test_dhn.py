"""DHN: the published size, its units, its loss."""

import pytest
import torch

from regbench import PairInfo, Registration
from regbench_registrators.dhn import DHN, DHNConfig


def build(patch=128, rho=32, device="meta", preset=None):
    with torch.device(device):
        return DHN(DHNConfig(**(DHNConfig.presets[preset] if preset else {})), PairInfo(patch=patch, rho=rho))


def test_published_network_has_the_published_parameters():
    assert sum(p.numel() for p in build().parameters()) == 34_193_800


def test_dropout_follows_the_last_convolution_and_the_first_layer():
    kinds = [type(layer).__name__ for layer in build().regressor]
    assert kinds == ["Flatten", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert sum(type(m).__name__ == "MaxPool2d" for m in build().convolutions) == 3


@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (64, "smoke"), (40, "tiny")])
def test_one_estimate_of_the_patch(patch, preset):
    found = build(patch, 8, "cpu", preset)(*torch.rand(2, 2, 3, patch, patch))
    assert found.displacements.shape == (1, 2, 4, 2)
    assert found.size == (patch, patch)


def test_estimates_are_in_units_of_rho():
    source, target = torch.rand(2, 2, 3, 32, 32)
    found = []
    for rho in (4, 12):
        torch.manual_seed(0)
        found.append(build(32, rho, "cpu", "tiny").eval()(source, target).displacement)
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[1], 3 * found[0])


def test_colour_enters_as_grey():
    torch.manual_seed(0)
    network = build(32, 8, "cpu", "tiny").eval()
    source, target = torch.rand(2, 1, 3, 32, 32)
    grey = source.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(network(source, target).displacement, network(grey, target).displacement)
    assert not torch.allclose(network(source, target).displacement, network(target, source).displacement)


def test_loss_is_half_the_squared_distance_in_units_of_rho():
    estimate = torch.zeros(1, 2, 4, 2)
    estimate[0, 0, 1] = torch.tensor([32.0, 64.0])  # 1 and 2 in units of rho: (1 + 4) / 2
    registration = Registration(estimate, (128, 128))
    truth = torch.zeros(2, 4, 2)
    assert float(build().loss(registration, truth)) == pytest.approx(2.5 / 2)
    assert float(build().loss(registration, truth, torch.tensor([2.0, 0.0]))) == pytest.approx(2.5)
    estimate.requires_grad_()
    build().loss(Registration(estimate, (128, 128)), truth).backward()
    torch.testing.assert_close(estimate.grad, estimate.detach() / 32**2 / 2)


def test_wrong_patch_says_what_is_needed():
    with pytest.raises(ValueError, match="multiple of 8, got 100"):
        build(100)
