"""ImageNet weights are read from where they lie, and what is missing is said."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from regbench.errors import DataError
from regbench.ops import load_imagenet
from regbench.ops.imagenet import TORCHVISION


def resnet(**settings) -> torch.nn.Module:
    return timm.create_model("resnet34", pretrained=False, **({"layers": (2,), "channels": (8,)} | settings))


@pytest.fixture
def published():
    torch.manual_seed(1)
    return resnet(num_classes=10).state_dict()


@pytest.fixture
def no_caches(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a: None)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_fills_the_network_but_for_new_layers(tmp_path, published, suffix):
    path = tmp_path / f"resnet34{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(published, path)
    network = resnet(in_chans=2, num_classes=8)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert load_imagenet(network, path, new=("conv1", "fc")) == path
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key] if key.split(".")[0] in ("conv1", "fc") else published[key]), key


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchs_cache_is_looked_in(no_caches, published, name):
    no_caches.mkdir(parents=True)
    torch.save({k: v for k, v in published.items() if "num_batches" not in k}, no_caches / name)
    network = resnet(num_classes=0)
    assert load_imagenet(network) == no_caches / name
    assert torch.equal(network.conv1.weight, published["conv1.weight"])


def test_what_is_missing_is_one_line(no_caches, tmp_path, published):
    with pytest.raises(DataError, match=r"put torchvision's resnet34-b627a593\.pth into .*checkpoints") as error:
        load_imagenet(resnet())
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        load_imagenet(resnet(), tmp_path / "none.pth")
    broken = tmp_path / "broken.pth"
    torch.save(published, broken)
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(DataError, match="truncated"):
        load_imagenet(resnet(), broken)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(b"\x10")
    with pytest.raises(DataError, match="truncated"):
        load_imagenet(resnet(), cut)


def test_another_network_is_refused(tmp_path, published):
    path = tmp_path / "other.pth"
    torch.save(published, path)
    with pytest.raises(DataError, match=r"layer1\.2"):
        load_imagenet(resnet(layers=(3,)), path, new=("fc",))
    with pytest.raises(DataError, match="another shape"):
        load_imagenet(resnet(channels=(16,)), path, new=("fc",))
