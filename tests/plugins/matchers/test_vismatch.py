"""The adapter to vismatch, on a package of the same form."""

import sys

import pytest
import torch

from regbench import PairInfo
from regbench.errors import DataError
from regbench.weights.used import weights_used
from regbench_matchers import plugin
from regbench_matchers.vismatch import Vismatch, VismatchConfig
from tests.plugins.matchers.scenes import textured

PACKAGE = """
import numpy as np
import torch
import other_thing_that_only_an_import_needs

available_models = [
    "shift-by-five",
    "noisy",
    "nothing",
]


def get_matcher(matcher_name="shift-by-five", device="cpu", max_num_keypoints=2048, *args, **kwargs):
    if matcher_name not in available_models:
        raise RuntimeError("no weights\\nfor this")

    def match(img0, img1):
        assert img0.shape == (3, 48, 64) and img0.dtype == torch.float32
        y, x = np.mgrid[4:44:6, 4:60:6]
        points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)[:max_num_keypoints]
        if matcher_name == "nothing":
            points = points[:0]
        moved = points + np.array([5.0, -3.0], np.float32)
        if matcher_name == "noisy":
            moved = moved + torch.randn(moved.shape).numpy()
        return {"H": None, "matched_kpts0": points, "matched_kpts1": moved}

    return match
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "vismatch").mkdir()
    (tmp_path / "vismatch" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "other_thing_that_only_an_import_needs.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "vismatch", raising=False)
    yield tmp_path / "vismatch"
    sys.modules.pop("vismatch", None)


def registered():
    found = {}
    plugin.register_registrators(lambda name, target, **kwargs: found.__setitem__(name, (target, kwargs)))
    return {name: value for name, value in found.items() if name.startswith("vismatch:")}


def build(name, **settings):
    return Vismatch(VismatchConfig(matcher=name, **settings), PairInfo())


def test_names_are_registered_without_importing_the_package(installed):
    found = registered()
    assert set(found) == {"vismatch:shift-by-five", "vismatch:noisy", "vismatch:nothing"}
    target, settings = found["vismatch:noisy"]
    assert target == "regbench_matchers.vismatch:Vismatch"
    assert settings["config"] == {"matcher": "noisy"}
    assert settings["summary"]
    assert "vismatch" not in sys.modules


def test_nothing_is_registered_where_it_is_not_installed_or_looks_different(installed):
    (installed / "__init__.py").write_text("available_models = make_them()")
    assert registered() == {}
    (installed / "__init__.py").write_text("models = ['a']")
    assert registered() == {}
    (installed / "__init__.py").unlink()
    installed.rmdir()
    assert registered() == {}


def test_matched_points_become_a_homography(installed):
    image = textured(0, 64)[..., :48, :].expand(2, -1, -1, -1)
    found = build("shift-by-five").register(image, image)
    assert found.ok.all()
    assert (found.displacement - torch.tensor([5.0, -3.0])).abs().max() < 1e-3


def test_no_points_and_too_few_points_fail(installed):
    image = textured(0, 64)[..., :48, :]
    assert not build("nothing").register(image, image).ok.any()


def test_samples_are_drawn_anew_for_each_pair_and_leave_the_generator_alone(installed):
    image = textured(0, 64)[..., :48, :].expand(2, -1, -1, -1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = build("noisy").register(image, image).displacement
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert (found - torch.tensor([5.0, -3.0])).abs().max() > 1e-3


def test_what_the_package_raises_becomes_one_line(installed):
    image = textured(0, 64)[..., :48, :]
    with pytest.raises(DataError, match="cannot build 'missing': no weights for this"):
        build("missing").register(image, image)


LEARNED = """
import torch
available_models = ["learned"]


class Learned(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(SCALE))


def get_matcher(name, device="cpu", max_num_keypoints=2048):
    return Learned()
"""


def test_a_plan_holds_the_hash_of_weights_that_the_package_reads(installed):
    found = []
    for scale in ("1.0", "1.0", "2.0"):
        (installed / "__init__.py").write_text(LEARNED.replace("SCALE", scale))
        sys.modules.pop("vismatch", None)
        with weights_used() as hashes:
            build("learned")
        found.append(hashes)
    assert list(found[0]) == ["vismatch learned"]
    assert found[0] == found[1] != found[2]
    assert build("learned")._built == {}, "else it is built at its first use"
