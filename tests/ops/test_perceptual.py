"""Perceptual distance against torchvision's own VGG-16 and a plain form of LPIPS; weights are synthetic throughout."""

from __future__ import annotations

import hashlib
import logging

import pytest
import torch
from safetensors.torch import save_file

from regbench.errors import DataError, UsageError
from regbench.ops.perceptual import LPIPS_FILE, VGG16_FILE, lpips_vgg16, random_features, timm_features

SMALL = "test_resnet.r160_in1k"
ENDS = (4, 9, 16, 23, 30)  # behind relu1_2, 2_2, 3_3, 4_3, 5_3 in torchvision's list of layers


@pytest.fixture(scope="module")
def layers():
    """The layers torchvision lists for VGG-16, at seeded weights."""
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    return make_layers(cfgs["D"])


@pytest.fixture(scope="module")
def channel_weights():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, c, 1, 1, generator=generator) for c in (64, 128, 256, 512, 512)]


@pytest.fixture(scope="module")
def folder(layers, channel_weights, tmp_path_factory):
    """Both files in their published layouts."""
    place = tmp_path_factory.mktemp("lpips")
    network = {f"features.{key}": value for key, value in layers.state_dict().items()}
    torch.save(network | {"classifier.0.weight": torch.zeros(2, 2)}, place / VGG16_FILE)
    torch.save({f"lin{i}.model.1.weight": w for i, w in enumerate(channel_weights)}, place / LPIPS_FILE)
    return place


def images(seed: int, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, side, side, generator=generator), torch.rand(2, 3, side, side, generator=generator)


def plain_lpips(layers, channel_weights, first, second):
    """LPIPS of images as they are fed: one image, one layer, one pixel position at a time where it matters."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    found = []
    for pair in zip(first, second, strict=True):
        maps = [(image - shift[:, None, None]) / scale[:, None, None] for image in pair]
        total, start = 0.0, 0
        for end, weight in zip(ENDS, channel_weights, strict=True):
            maps = [layers[start:end](m[None])[0] for m in maps]
            a, b = (m.flatten(1).T / m.flatten(1).T.norm(dim=1, keepdim=True) for m in maps)  # (pixels, channels)
            total, start = total + float(((a - b) ** 2 @ weight.flatten()).mean()), end
        found.append(total)
    return torch.tensor(found)


@torch.no_grad()
def test_lpips_is_the_published_distance(layers, channel_weights, folder):
    first, second = images(0)
    found = lpips_vgg16(folder, "unit")(first, second)
    torch.testing.assert_close(found, plain_lpips(layers, channel_weights, first, second), rtol=1e-4, atol=1e-6)
    signed = lpips_vgg16(folder, "signed")(first, second)
    expected = plain_lpips(layers, channel_weights, 2 * first - 1, 2 * second - 1)
    torch.testing.assert_close(signed, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found, signed, rtol=0.02)


def test_lpips_says_which_files_it_used(folder):
    source = lpips_vgg16(folder).source
    expected = [{"name": n, "sha256": hashlib.sha256((folder / n).read_bytes()).hexdigest()} for n in
                (VGG16_FILE, LPIPS_FILE)]  # fmt: skip
    assert source == {"backend": "lpips-vgg16", "image_range": "signed", "files": expected}


def test_weights_are_found_in_the_hub_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=f"checkpoints/{VGG16_FILE}: no such file.*Nothing is downloaded"):
        lpips_vgg16()
    (tmp_path / "checkpoints").symlink_to(folder)
    assert lpips_vgg16().source["files"][1]["name"] == LPIPS_FILE


def test_a_missing_or_wrong_file_is_named(channel_weights, tmp_path):
    (tmp_path / VGG16_FILE).write_bytes(b"PK")
    with pytest.raises(DataError, match=f"{LPIPS_FILE}: no such file"):
        lpips_vgg16(tmp_path)
    torch.save({f"lin{i}.model.1.weight": w for i, w in enumerate(channel_weights)}, tmp_path / LPIPS_FILE)
    with pytest.raises(DataError, match=f"{VGG16_FILE}: is truncated"):
        lpips_vgg16(tmp_path)
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / VGG16_FILE)
    with pytest.raises(DataError, match=r"features\.0\.weight is \(64, 1, 3, 3\), not \(64, 3, 3, 3\)"):
        lpips_vgg16(tmp_path)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / VGG16_FILE)
    with pytest.raises(DataError, match=r"has no features\.0\.bias"):
        lpips_vgg16(tmp_path)


def test_random_features_are_a_seeded_distance():
    first, second = images(2)
    before = torch.get_rng_state()
    measure = random_features(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(random_features(3)(first, second), measure(first, second))
    assert not torch.allclose(random_features(4)(first, second), measure(first, second))
    assert measure.source == {"backend": "random", "seed": 3, "widths": [16, 32, 64, 64, 64]}
    torch.testing.assert_close(measure(first, second), measure(second, first))
    assert float(measure(first, first).abs().max()) == 0
    nearer = measure(first, 0.9 * first + 0.1 * second)
    assert (nearer < measure(first, second)).all()


def test_the_ruler_does_not_learn_and_passes_gradients_on():
    measure = random_features().train()
    assert not any(m.training for m in measure.modules())
    assert not any(p.requires_grad for p in measure.parameters())
    first = images(0)[0].requires_grad_()
    measure(first, images(1)[1]).sum().backward()
    assert first.grad.isfinite().all()
    assert first.grad.abs().sum() > 0


def test_gradients_stay_finite_where_features_vanish():
    measure = random_features()
    for layer in measure.network.convolutions:
        layer.weight.zero_()
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    measure(black, torch.ones_like(black)).sum().backward()
    assert black.grad.isfinite().all()


@pytest.fixture(scope="module")
def backbone():
    import timm

    torch.manual_seed(5)
    return timm.create_model(SMALL, pretrained=False)


def test_timm_features_are_those_of_the_given_weights(backbone, tmp_path):
    import timm

    save_file(backbone.state_dict(), tmp_path / "model.safetensors")
    measure = timm_features(SMALL, tmp_path / "model.safetensors")
    assert measure.source["backend"] == f"timm:{SMALL}"
    assert measure.source["files"][0]["name"] == "model.safetensors"
    reference = timm.create_model(SMALL, pretrained=False, features_only=True).eval()
    reference.load_state_dict(backbone.state_dict(), strict=False)
    config = timm.get_pretrained_cfg(SMALL)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (config.mean, config.std))
    first, second = images(6, 64)
    expected = torch.zeros(2)
    with torch.no_grad():
        maps = [reference((image - mean) / std) for image in (first, second)]
        for a, b in zip(*maps, strict=True):
            a, b = (m / m.norm(dim=1, keepdim=True).clamp_min(1e-10) for m in (a, b))
            expected += ((a - b) ** 2).sum(1).mean((1, 2))
        torch.testing.assert_close(measure(first, second), expected, rtol=1e-4, atol=1e-6)


def test_timm_backbones_that_cannot_be_had_are_one_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("regbench.ops.perceptual.in_hugging_face_cache", lambda repository: None)
    with pytest.raises(UsageError, match="timm has no backbone 'resnet_of_mine'"):
        timm_features("resnet_of_mine")
    with pytest.raises(DataError, match=f"{SMALL} has no weights in the Hugging Face cache: get model.safetensors"):
        timm_features(SMALL)
    with pytest.raises(DataError, match="no such file"):
        timm_features(SMALL, tmp_path / "none.safetensors")
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    with caplog.at_level(logging.CRITICAL), pytest.raises(DataError, match="are no weights of"):
        timm_features(SMALL, tmp_path / "other.safetensors")
