"""GoogleEarth and GoogleMap: published homographies, as labels and as files that may be broken."""

import shutil

import cv2
import pytest
import torch

from regbench import geometry
from regbench.data.manifest import test_manifest as make_manifest
from regbench.data.packs.prepare import prepare
from regbench.data.pairs import given_pairs
from regbench.data.protocol import Protocol
from regbench.errors import DataError, UsageError
from regbench_datasets.dlkfm import GoogleEarth, GoogleMap
from tests.datasets.layouts import dlkfm, reader, write


def laid(a, b, homography):
    """Mean absolute difference of A laid on B and B, where A's central 128 px are seen, 0..255."""
    mask = torch.zeros(1, 1, 192, 192, dtype=torch.float64)
    mask[..., 34:158, 34:158] = 1
    seen = geometry.warp(mask, homography)[0, 0] > 0.999
    moved = geometry.warp(a[None].double(), homography)[0]
    assert seen.float().mean() > 0.1
    return float((moved - b.double()).abs()[:, seen].mean())


def test_stored_label_puts_the_template_on_the_input(tmp_path):
    dlkfm(tmp_path / "root")
    pack = prepare(reader(GoogleMap, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    template, picture = pack.images("test", "a")[0], pack.images("test", "b")[0]
    label = torch.from_numpy(pack.homographies("test")[:1])
    right = laid(template, picture, label)
    assert right < 4
    assert right < laid(template, picture, geometry.invert(label)) / 3
    assert right < laid(template, picture, torch.eye(3, dtype=torch.float64)[None]) / 3


def test_labels_are_the_published_offsets(tmp_path):
    """Template's corners (32, 32) ... (159, 159) move by label - corner; the other direction is the inverse."""
    corners = ((40, 30), (150, 44), (25, 170), (160, 160))
    dlkfm(tmp_path / "root", corners)
    pack = prepare(reader(GoogleEarth, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    forward = given_pairs(pack, "test", Protocol(pairing="given"), labelled=True)
    home = torch.tensor([[32, 32], [159, 32], [32, 159], [159, 159]])
    assert torch.allclose(forward.displacement[0], (torch.tensor(corners) - home).float(), atol=1e-4)
    backward = given_pairs(pack, "test", Protocol(pairing="given", source="B"), labelled=True)
    both = [geometry.homography_from_displacement(d.displacement.double(), (128, 128)) for d in (forward, backward)]
    assert torch.allclose(geometry.compose(*both), torch.eye(3, dtype=torch.float64), atol=1e-5)
    a = pack.images("test", "a")[0]
    stored = cv2.imread(str(tmp_path / "root/val2014_template/0.jpg"))[..., ::-1].copy()
    assert torch.equal(a[:, 32:160, 32:160], torch.from_numpy(stored).permute(2, 0, 1))


def test_aligned_originals(tmp_path):
    dlkfm(tmp_path / "root")
    data = reader(GoogleMap, tmp_path / "root", pairs="original")
    pack = prepare(data, "x", "1", tmp_path / "p.h5")
    assert pack.aligned
    assert pack.max_patch is None
    assert (pack.images("test", "a").int() - pack.images("test", "b").int()).abs().float().mean() < 5
    dlkfm(tmp_path / "bare", original=False)
    shutil.rmtree(tmp_path / "bare/val2014_template_original")
    with pytest.raises(DataError, match="no folder val2014_template_original/"):
        reader(GoogleMap, tmp_path / "bare", pairs="original").keys("test")


def test_windows_stay_inside_the_template(tmp_path):
    dlkfm(tmp_path / "root")
    pack = prepare(reader(GoogleEarth, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    with pytest.raises(UsageError, match=r"central 128 px.*protocol\.patch=128"):
        make_manifest(pack, Protocol(patch=160, pairing="given"))
    assert len(make_manifest(pack, Protocol(patch=64, rho=16, pairing="given")).draws) == 2


def test_training_windows_share_their_image(tmp_path):
    dlkfm(tmp_path / "root")
    data = reader(GoogleEarth, tmp_path / "root")
    assert {data.group("train", key) for key in data.keys("train")} == {"4", "5"}


@pytest.mark.parametrize(("text", "message"), [
    ('{"location": [{"top_left_u": 39', "truncated or no DLKFM label"),
    ("[]", "no DLKFM label"),
    ('{"location": [{"top_left_u": 39, "top_left_v": 28}]}', "no DLKFM label"),
    (
        '{"location": [{"top_left_u": 150, "top_left_v": 150}, {"top_right_u": 150, "top_right_v": 30}, '
        '{"bottom_left_u": 30, "bottom_left_v": 150}, {"bottom_right_u": 150, "bottom_right_v": 149}]}',
        "convex",
    ),
])  # fmt: skip
def test_broken_labels(tmp_path, text, message):
    dlkfm(tmp_path)
    (tmp_path / "val2014_label/1_label.txt").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        reader(GoogleEarth, tmp_path).read("test", "1")
    assert "1_label.txt" in str(caught.value)


def test_wrong_size_is_said(tmp_path):
    dlkfm(tmp_path)
    write(tmp_path / "val2014_template/1.jpg", (120, 128, 3))
    with pytest.raises(DataError, match=r"val2014_template/1\.jpg is 128x120, expected 128x128"):
        reader(GoogleEarth, tmp_path).read("test", "1")


def test_windows_of_the_17_scenes_of_googleearth(tmp_path):
    """The publisher's generator names test windows <350..399>_<scene>."""
    data = reader(GoogleEarth, tmp_path)
    assert data.group("test", "350_paris_3") == data.group("test", "399_paris_3") == "paris_3"
    assert data.group("test", "17") == "17"
    assert "17 scenes" in GoogleEarth.card.defects


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"top_left_u": 40', '"top_left_u": "40"', "top_left_u is '40', not a number"),
    ('"top_left_u": 40', '"top_left_u": NaN', "not a finite number"),
    ('"top_left_u": 40', '"top_left_u": 1, "top_left_u": 40', "top_left_u is there twice"),
    ('"top_right_u"', '"top_left_u"', "top_left_u is there twice"),
    ('"top_left_u": 40', '"top_left_u": 40,5', "truncated or no DLKFM label"),
])  # fmt: skip
def test_labels_that_are_not_what_they_seem(old, new, message, tmp_path):
    dlkfm(tmp_path)
    path = tmp_path / "val2014_label/1_label.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        reader(GoogleEarth, tmp_path).read("test", "1")
    assert "1_label.txt" in str(caught.value)
