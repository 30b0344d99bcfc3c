"""Weight files, precision, versions and code differ; each gives another run id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regbench.data import manifest as manifests
from regbench.ops import resnet34
from regbench.runs import request as requests
from tests.runs.place import TRAINED
from tests.runs.ways.way import Way


def write_trunk(path: Path, seed: int) -> None:
    """The first stage of a ResNet-34, under torchvision's keys."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(resnet34(depths=(3,), widths=(64,)).state_dict(), path)


def weights_of_the_same_name(place):
    place.write_weights(2)
    return place.plan().run_id


def bihome(place, weights: str) -> str:
    sets = {"strategy": {"steps": 3, "batch": 4, "weights": weights}}
    return place.plan(**TRAINED | {"strategy": "bihome"}, sets=sets).run_id


def file_of_a_setting(place):
    path = place.folder / "trunk.pth"
    assert bihome(place, str(path)) == bihome(place, str(path))
    before = bihome(place, str(path))
    write_trunk(path, 1)
    return _same(before, bihome(place, str(path)))


def file_of_the_cache(place):
    before = bihome(place, "imagenet")
    write_trunk(place.folder / "torch/hub/checkpoints/resnet34-b627a593.pth", 1)
    return _same(before, bihome(place, "imagenet"))


def another_file_of_the_cache(place):
    """An older name is found where the newer file is gone."""
    before = bihome(place, "imagenet")
    cache = place.folder / "torch/hub/checkpoints"
    (cache / "resnet34-b627a593.pth").unlink()
    write_trunk(cache / "resnet34-333f7ec4.pth", 1)
    return _same(before, bihome(place, "imagenet"))


def features_of_a_loss(place):
    folder = place.folder / "lpips"
    folder.mkdir()
    for name in ("vgg16-397923af.pth", "vgg.pth"):
        (folder / name).write_bytes(b"one")

    def planned():
        loss = {"steps": 3, "batch": 4, "corr": "none", "pcp_backend": "vgg16", "pcp_weights": str(folder)}
        sets = {"strategy": loss, "translator": {"preset": "tiny"}}
        return place.plan(**TRAINED | {"strategy": "sshnet", "translator": "mimgcd"}, sets=sets).run_id

    before = planned()
    (folder / "vgg.pth").write_bytes(b"two")
    return _same(before, planned())


def _same(before: str, after: str) -> str:
    """The id of the plain run where nothing changed, for the comparison at the end."""
    return "the same" if before == after else "another"


def half_precision(place):
    return place.plan(**TRAINED | {"precision": "bf16"}).run_id


def plugin_of_another_version(place):
    real = requests.configure

    def newer(*args):
        configured = real(*args)
        return replace(configured, component=replace(configured.component, version="99"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(requests, "configure", newer)
        return place.plan().run_id


def other_code_that_cuts(place):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(manifests, "CUTTING", 2)
        return place.plan().run_id


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        weights_of_the_same_name,
        file_of_a_setting,
        file_of_the_cache,
        another_file_of_the_cache,
        features_of_a_loss,
        half_precision,
        plugin_of_another_version,
        other_code_that_cuts,
    )
}

REFUSED: dict[str, str] = {}
