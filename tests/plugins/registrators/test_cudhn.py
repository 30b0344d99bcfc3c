"""The network of CUDHN: its size, its conventions, its masks."""

import cv2
import numpy as np
import pytest
import torch

from regbench import PairInfo
from regbench_registrators.cudhn import CUDHN, CUDHNConfig


def build(patch=128, device="meta", preset=None, **settings):
    config = CUDHNConfig(**(CUDHNConfig.presets[preset] if preset else {}) | settings)
    with torch.device(device):
        return CUDHN(config, PairInfo(patch=patch))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_released_network_has_the_released_parameters():
    network = build()
    assert parameters(network) == 21_292_556
    assert parameters(network.feature_net) == 422
    assert parameters(network.mask_net) == 6_494


@pytest.mark.parametrize(("patch", "preset"), [(64, "hour"), (64, "quick"), (128, "tiny"), (40, "smoke")])
def test_one_estimate_of_any_patch(patch, preset):
    torch.manual_seed(0)
    network = build(patch, "cpu", preset).eval()
    source, target = torch.rand(2, 3, 3, patch, patch)
    found = network(source, target)
    assert found.displacements.shape == (1, 3, 4, 2)
    assert found.size == (patch, patch)
    torch.testing.assert_close(
        network(source[:1], target[:1]).displacement, found.displacement[:1], rtol=1e-4, atol=1e-4
    )


def test_offsets_are_of_corners_beyond_the_patch_in_the_released_order():
    network = build(64, "cpu", "tiny").eval()
    offsets = np.array([[3, 1], [-2, 4], [5, -6], [1, 2]], np.float32)  # TL, BL, BR, TR
    network.regressor.fc.weight.data.zero_()
    network.regressor.fc.bias.data.copy_(torch.from_numpy(offsets.ravel()))
    found = network(*torch.rand(2, 1, 3, 64, 64)).displacement[0]
    released = np.array([[0, 0], [0, 64], [64, 64], [64, 0]], np.float32)
    h = cv2.getPerspectiveTransform(released, released + offsets)
    corners = np.array([[0, 0], [63, 0], [0, 63], [63, 63]], np.float64)
    expected = cv2.perspectiveTransform(corners[None], h)[0] - corners
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-3)


def test_source_is_the_second_image():
    network = build(64, "cpu", "tiny").eval()
    seen = []
    network.regressor.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    source, target = torch.rand(2, 2, 3, 64, 64)
    network(source, target)
    for channel, image in enumerate((target, source)):
        expected = network.features(image) * network.normalised(network.mask(image))
        torch.testing.assert_close(seen[0][:, channel : channel + 1], expected)


def test_grey_is_standardised_as_opencv_reads_it():
    image = torch.rand(1, 3, 8, 8)
    bgr = 255 * image.flip(1)[0].permute(1, 2, 0).numpy()
    expected = ((bgr - [118.93, 113.97, 102.60]) / [69.85, 68.81, 72.45]).mean(2)
    np.testing.assert_allclose(build(64, "cpu", "tiny").grey(image)[0, 0].numpy(), expected, atol=1e-5)


def test_masks_and_features_are_open_to_a_strategy():
    torch.manual_seed(0)
    network = build(64, "cpu", "tiny")
    image = torch.rand(2, 3, 64, 64)
    mask, features = network.mask(image), network.features(image)
    assert mask.shape == features.shape == (2, 1, 64, 64)
    assert mask.min() > 0
    assert mask.max() < 1
    assert features.min() >= 0
    normalised = network.normalised(mask)
    torch.testing.assert_close(normalised, (mask / (0.5 * mask.amax((1, 2, 3), keepdim=True))).clamp(max=1))
    assert (normalised.amax((1, 2, 3)) == 1).all()


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = build(64, "cpu", "tiny")
    network.loss(network(*torch.rand(2, 4, 3, 64, 64)), 8 * torch.randn(4, 4, 2)).backward()
    assert not [k for k, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert network.mask_net[0].weight.grad.any()


def test_pretrained_weights_are_of_one_size():
    with pytest.raises(ValueError, match="leave depths and widths at their defaults"):
        build(preset="quick", pretrained=True)
