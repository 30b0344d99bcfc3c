"""Pairs of a rendered scene with a known homography: found, refined, warped, drawn, and not claimed where not found."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import regbench
from regbench.alignment import aligner, auto
from regbench.alignment.aligner import load
from regbench.alignment.auto import Choice
from regbench.alignment.coarse import find_coarse
from regbench.alignment.images import open_image
from regbench.alignment.methods import method_of
from regbench.alignment.pyramid import refine
from regbench.errors import RegbenchError, UsageError
from tests.alignment.scenes import error, large, moved, scaled, scene

TURN = np.array([[1.02, 0.09, -14.0], [-0.08, 0.98, 31.0], [4e-5, -3e-5, 1.0]])


@pytest.fixture(scope="module")
def pair():
    """One band, and the photograph moved by TURN; 384 px."""
    photo, infrared = scene(384)
    return infrared, moved(photo, TURN)


@pytest.fixture(scope="module")
def found(pair):
    return regbench.align(*pair, "sift")


def test_two_modalities_are_aligned_to_half_a_pixel(found):
    assert found.ok
    assert error(found.homography, TURN, (384, 384)) < 0.5
    assert found.confidence >= 0.5
    assert found.homography[2, 2] == 1
    assert found.method == "sift"
    assert found.inliers == found.matches.inliers.sum() >= 12
    moved_points = cv2.perspectiveTransform(found.matches.source[None], TURN)[0]
    assert np.median(np.abs(moved_points - found.matches.target)[found.matches.inliers]) < 1


def test_files_tensors_and_arrays_give_one_answer(tmp_path, pair, found):
    for name, image in zip("ab", pair, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[..., ::-1] if image.ndim == 3 else image)
    files = regbench.align(tmp_path / "a.png", str(tmp_path / "b.png"), "sift")
    np.testing.assert_allclose(files.homography, found.homography, rtol=1e-9)
    tensors = [torch.from_numpy(np.atleast_3d(x)).permute(2, 0, 1) / 255 for x in pair]
    assert error(regbench.align(*tensors, "sift").homography, TURN, (384, 384)) < 0.5
    deep = [x.astype(np.uint16) * 30 + 1000 for x in pair]
    assert error(regbench.align(*deep, "sift").homography, TURN, (384, 384)) < 0.5


def test_the_warped_source_lies_on_the_target_at_full_depth(pair, found):
    deep = pair[0].astype(np.uint16) * 201
    warped = regbench.Alignment(found.homography, True, 1.0, source=open_image(deep), target=found.target).warp()
    assert (warped.dtype, warped.shape) == (np.uint16, (384, 384))
    expected = cv2.warpPerspective(deep, found.homography, (384, 384))
    inner = cv2.erode(cv2.warpPerspective(np.ones_like(pair[0]), found.homography, (384, 384)), np.ones((9, 9))) > 0
    assert inner.mean() > 0.5
    difference = np.abs(warped.astype(int) - expected)[inner]
    assert difference.mean() < 201  # a grey level of the 8 bits that it was
    assert np.unique(warped).size > 5000
    assert (warped[-1, :40] == 0).all() or (warped[0, :40] == 0).all()


def test_six_times_as_large(pair):
    """Accuracy is that of the smaller image; its pixels are six of the larger one."""
    photo = cv2.resize(pair[1], None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    found = regbench.align(pair[0], photo, "sift")
    assert error(found.homography, scaled(6) @ TURN, (384, 384)) < 1.5
    assert found.confidence >= 0.5


def test_half_the_scene_at_twice_the_scale():
    """A method that knows no scale is tried at several."""
    image = large(640)
    part = cv2.resize(image[200:440, 150:390], (720, 720), interpolation=cv2.INTER_CUBIC)
    truth = np.array([[1, 0, 150], [0, 1, 200], [0, 0, 1.0]]) @ np.linalg.inv(scaled(3))
    coarse = find_coarse(method_of("rift"), open_image(part), open_image(image), 256, None)
    assert error(coarse.homography, truth, part.shape) < 12


def test_finer_levels_improve_on_the_first(pair):
    method, images = method_of("sift"), [open_image(x) for x in pair]
    coarse = find_coarse(method, *images, 72, None)
    first = error(coarse.homography, TURN, (384, 384))
    level = refine(method, *images, coarse.homography, coarse.factor)
    assert first > 0.3
    assert error(level.homography, TURN, (384, 384)) < 0.4 * first


def test_a_quarter_turn(pair):
    turned = np.rot90(pair[1]).copy()
    truth = np.array([[0, 1, 0], [-1, 0, 383], [0, 0, 1.0]]) @ TURN
    assert error(regbench.align(pair[0], turned, "sift").homography, truth, (384, 384)) < 0.7


@pytest.mark.parametrize("method", ["sift", "auto"])
def test_nothing_is_claimed_of_a_flat_image(tmp_path, pair, method):
    found = regbench.align(np.full((200, 300), 90, np.uint8), pair[1], method)
    assert not found.ok or found.confidence < 0.1
    failed = regbench.Alignment(np.eye(3), False, 0.0, method="sift", source=found.source, target=found.target)
    with pytest.raises(RegbenchError, match="no alignment"):
        failed.warp()
    failed.save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["alignment.json", "overlay.png"]
    facts = json.loads((tmp_path / "out/alignment.json").read_text())
    assert not facts["ok"]
    assert np.array_equal(facts["homography"], np.eye(3))


def test_everything_is_saved(tmp_path, found):
    found.save(tmp_path / "new/out")
    out = tmp_path / "new/out"
    assert sorted(p.name for p in out.iterdir()) == ["alignment.json", "homography.txt", "overlay.png", "warped.png"]
    np.testing.assert_allclose(np.loadtxt(out / "homography.txt"), found.homography, rtol=1e-9)
    np.testing.assert_array_equal(cv2.imread(str(out / "warped.png"), cv2.IMREAD_UNCHANGED), found.warp())
    facts = json.loads((out / "alignment.json").read_text())
    assert facts["confidence"] == pytest.approx(found.confidence, abs=1e-4)
    assert facts["inliers"] == found.inliers


def test_the_picture_keeps_the_target_outside_of_the_source(found):
    """Four panels of 384 px; the target's rim that the source does not reach is not black."""
    picture = found.overlay()
    assert picture.dtype == np.uint8
    panels = [picture[52:436, 6 + 390 * k : 390 + 390 * k] for k in range(4)]
    target = found.target.view(1).pixels * 255
    outside = cv2.warpPerspective(np.ones((384, 384), np.uint8), found.homography, (384, 384)) == 0
    assert outside.mean() > 0.03
    for panel in panels[2:]:
        assert np.abs(panel[outside] - target[outside]).max() < 1.01
    assert np.abs(panels[3].astype(float) - target).max() > 20  # and inside there are tiles of the source


def test_a_failure_and_a_doubtful_answer_look_like_it(found):
    red = lambda picture: ((picture[:26, :, 0] > 150) & (picture[:26, :, 2] < 110)).sum()  # noqa: E731
    both = dict(source=found.source, target=found.target, method="sift")
    assert red(found.overlay()) == 0
    assert red(regbench.Alignment(found.homography, True, 0.2, **both).overlay()) > 50
    failed = regbench.Alignment(np.eye(3), False, 0.0, **both).overlay()
    assert red(failed) > 50
    assert failed.shape[1] < found.overlay().shape[1]


def test_auto_goes_on_until_one_is_sure_and_says_so(monkeypatch, pair):
    order = [Choice("identity", "first"), Choice("sift", "second"), Choice("rift", "third")]
    monkeypatch.setattr(aligner, "choices", lambda: order)
    far = moved(pair[1], np.array([[1, 0, 80], [0, 1, -70], [0, 0, 1.0]]))  # doing nothing is wrong by a fifth
    found = regbench.align(pair[0], far)
    assert found.method == "sift"
    assert [a.method for a in found.tried] == ["identity", "sift"]
    assert found.tried[0].confidence < 0.5
    assert "identity: confidence" in found.why
    assert "(second)" in found.why


def test_auto_takes_the_network_of_the_package_first(tmp_path, monkeypatch):
    assert "vismatch" not in str(auto.choices())
    monkeypatch.setattr(auto, "files", lambda _: tmp_path)
    assert auto.bundled_weights() is None
    (tmp_path / auto.BUNDLED).write_bytes(b"weights")
    assert auto.choices()[0].method == str(tmp_path / auto.BUNDLED)
    assert auto.choices()[1].method == "sift"


def test_a_broken_method_does_not_stop_auto(monkeypatch, pair):
    monkeypatch.setattr(aligner, "choices", lambda: [Choice("lightglue", "no weights"), Choice("sift", "")])
    found = regbench.align(*pair)
    assert found.ok
    assert not found.tried[0].ok
    assert "has no weights" in found.tried[0].why


@pytest.mark.parametrize(
    ("confidences", "tried", "answer"),
    [
        ([0.995, 0.999], 1, 0),  # sure
        ([0.9, 0.6, 0.999], 2, 0),  # confident: one more, which is worse
        ([0.9, 0.95, 0.999], 2, 1),  # one more, which is better
        ([0.2, 0.4, 0.7, 0.6, 0.999], 4, 2),
        ([0.2, 0.1], 2, 0),
    ],
)
def test_auto_asks_one_more_where_an_answer_is_confident_but_not_sure(monkeypatch, pair, confidences, tried, answer):
    made = [regbench.Alignment(np.eye(3), True, c, {}, str(i)) for i, c in enumerate(confidences)]
    monkeypatch.setattr(aligner.Aligner, "_by", lambda self, method, *_: made[int(method.name)])
    methods = [(str(i), "", lambda i=i: SimpleNamespace(name=str(i))) for i in range(len(made))]
    found = aligner.Aligner(methods, 512).align(*pair)
    assert len(found.tried) == tried
    assert found.method == str(answer)


def test_many_pairs(pair, found):
    several = load("sift").align_batch([pair, (pair[1], pair[1])])
    np.testing.assert_array_equal(several[0].homography, found.homography)
    assert error(several[1].homography, np.eye(3), (384, 384)) < 0.05


@pytest.mark.parametrize(("words", "says"), [
    ({"method": "siftt"}, "did you mean 'sift'"),
    ({"method": "mcnet"}, "has to be trained"),
    ({"method": "sift", "contrasst": 1}, "contrast"),
    ({"method": "auto", "contrast": 1}, "one registrator"),
    ({"method": "none/such.safetensors"}, "no such run directory or weights file"),
    ({"method": "sift", "max_side": 3}, "at least 16"),
])  # fmt: skip
def test_wrong_words(pair, words, says):
    with pytest.raises((UsageError, RegbenchError), match=says):
        regbench.align(*pair, **words)
