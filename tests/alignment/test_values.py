"""Two files of one's own: read as the run's data were, or as they are; never a guess without a word."""

import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import regbench
from regbench.alignment import aligner
from regbench.alignment.images import open_image
from regbench.alignment.methods import method_of
from regbench.cli.register import command
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.runs.execute import execute
from regbench.runs.plan import Request, make_plan
from tests.alignment.scenes import error

TRUTH = np.array([[1.0, 0.02, 7.0], [-0.01, 1.0, -5.0], [0, 0, 1.0]])
LOW, HIGH = 7185, 9241


@pytest.fixture(scope="module")
def scene(smooth_images):
    """Two views (uint8) of one textured scene, 240 x 200, the second moved by TRUTH."""
    wide = cv2.resize(smooth_images(1, (300, 320), seed=4)[0], (640, 600))[100:500, 100:560]
    source = wide[100:300, 100:340]
    moved = cv2.warpPerspective(wide, _about((100, 100)), (460, 400), flags=cv2.INTER_CUBIC)
    return source, moved[100:300, 100:340]


def _about(origin):
    shift = np.array([[1, 0, origin[0]], [0, 1, origin[1]], [0, 0, 1.0]])
    return shift @ TRUTH @ np.linalg.inv(shift)


def load(path, record=None):
    """The image as methods get it, ``(3, H, W)``."""
    return torch.from_numpy(open_image(path, values=record).view(1).pixels).permute(2, 0, 1)


def as_counts(image):
    return (LOW + image.astype(float) * (HIGH - LOW) / 255).round().astype(np.uint16)


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout), result.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, scene):
    """Runs of the smoke budget on a set of 16-bit pairs, with and without a range for side A."""
    folder = tmp_path_factory.mktemp("runs")
    for split in ("train", "test"):
        for i in range(3):
            for side, image in zip(("source", "target"), scene, strict=True):
                (folder / split / side).mkdir(parents=True, exist_ok=True)
                view = np.roll(image, 11 * (i + 3 * (split == "test")), 1)  # no image is in both splits
                cv2.imwrite(str(folder / split / side / f"{i}.png"), as_counts(view) if side == "source" else view)
    patch = pytest.MonkeyPatch()
    patch.setenv("REGBENCH_DATA", str(folder / "packs"))
    runs = {}
    for name, ranges in (("plain", {}), ("ranged", {"range_a": f"{LOW}..{HIGH}"})):
        sets = {"dataset": {"height": 96, "width": 96, **ranges}, "strategy": {"steps": 1}}
        request = Request(
            "mcnet", "supervised", dataset="folder", root=folder, budget="smoke", out=folder, device="cpu", sets=sets
        )
        plan = make_plan(request)
        execute(plan)
        runs[name] = plan.folder
    patch.undo()
    return runs


def test_8_bits_are_as_they_are_and_others_stretched_by_percentiles(tmp_path, scene):
    cv2.imwrite(str(tmp_path / "a.png"), scene[0])
    cv2.imwrite(str(tmp_path / "c.png"), as_counts(scene[0]))
    plain, counts = open_image(tmp_path / "a.png"), open_image(tmp_path / "c.png")
    torch.testing.assert_close(load(tmp_path / "a.png")[1], torch.from_numpy(scene[0] / np.float32(255)))
    assert load(tmp_path / "a.png").shape == (3, 200, 240)
    low, high = np.percentile(as_counts(scene[0]), (0.5, 99.5), method="nearest")
    expected = ((as_counts(scene[0]).astype(np.float32) - low) / (np.float32(high) - low)).clip(0, 1)
    torch.testing.assert_close(load(tmp_path / "c.png")[0], torch.from_numpy(expected), rtol=0, atol=1e-4)
    assert (plain.how, counts.how) == ("all of uint8", "percentiles of the image (image:0.5)")


def test_a_dead_pixel_changes_nothing(tmp_path, scene):
    a, b = (as_counts(image) for image in scene)
    hot = a.copy()
    hot[17, 33] = 65535
    for name, image in (("a", a), ("hot", hot), ("b", b)):
        cv2.imwrite(str(tmp_path / f"{name}.tif"), image)
    clean, _ = call(tmp_path / "a.tif", tmp_path / "b.tif", "--registrator", "sift", "--json")
    found, said = call(tmp_path / "hot.tif", tmp_path / "b.tif", "--registrator", "sift", "--json")
    assert found["ok"]
    assert "of its range" not in said
    np.testing.assert_allclose(found["homography"], clean["homography"], atol=0.02)
    points = np.array([[[20.0, 20.0], [220.0, 20.0], [20.0, 180.0], [220.0, 180.0]]])
    moved, truth = (cv2.perspectiveTransform(points, np.array(h)) for h in (found["homography"], TRUTH))
    assert np.abs(moved - truth).max() < 1
    assert found["ranges"]["source"]["how"] == "percentiles of the image (image:0.5)"


def test_a_run_brings_its_range(trained, tmp_path, scene):
    method = method_of(trained["ranged"])
    assert method.ranges == ("7185..9241 of uint16", "0..255 of uint8")
    cv2.imwrite(str(tmp_path / "c.png"), as_counts(scene[0]))
    cv2.imwrite(str(tmp_path / "a.png"), scene[0])
    cv2.imwrite(str(tmp_path / "b.png"), scene[1])
    seen = load(tmp_path / "c.png", method.ranges[0])
    torch.testing.assert_close(seen, load(tmp_path / "a.png"), rtol=0, atol=3e-4)
    of_counts, said = call(tmp_path / "c.png", tmp_path / "b.png", "--run", trained["ranged"], "--json")
    of_bytes, _ = call(tmp_path / "a.png", tmp_path / "b.png", "--run", trained["ranged"], "--json")
    assert error(of_counts["homography"], of_bytes["homography"], (200, 240)) < 0.1  # px; both moved by 7
    assert "of its range" not in said
    assert of_counts["ranges"]["source"] == {"values": [LOW, HIGH], "how": "as recorded"}
    assert "says nothing of uint8" in of_bytes["ranges"]["source"]["how"]


def test_weights_and_result_of_a_run_hold_its_range(trained):
    from regbench.weights.files import read_tensors

    result = json.loads((trained["ranged"] / "result.json").read_text())
    assert result["training"]["ranges"] == {"source": "7185..9241 of uint16", "target": "0..255 of uint8"}
    _, metadata = read_tensors(trained["ranged"] / "weights.safetensors")
    assert (metadata["range_source"], metadata["range_target"]) == ("7185..9241 of uint16", "0..255 of uint8")


def test_a_run_on_a_set_of_another_range_is_told(trained, monkeypatch):
    from regbench.runs.plan import transfer_plan
    from regbench.runs.record import other_ranges

    root = trained["ranged"].parent
    monkeypatch.setenv("REGBENCH_DATA", str(root / "packs"))
    recorded = json.loads((trained["ranged"] / "result.json").read_text())["training"]["ranges"]
    lines = {}
    for name, ranges in (("plain", {}), ("ranged", {"range_a": f"{LOW}..{HIGH}"})):
        sets = {"dataset": {"height": 96, "width": 96, **ranges}}
        plan = transfer_plan(trained["ranged"], Request("", dataset="folder", root=root, device="cpu", sets=sets))
        lines[name] = other_ranges(plan, recorded)
    assert lines["ranged"] == []
    (line,) = lines["plain"]
    assert "7185..9241 of uint16" in line
    assert "--set dataset.range_a=7185..9241" in line


def test_a_run_without_a_range_reads_all_of_any_type_and_warns(trained, tmp_path, scene):
    """The same fraction of white in 8 and in 16 bits is the same picture."""
    dark = scene[0] // 8
    for name, image in (("a8", dark), ("a16", dark.astype(np.uint16) * 257)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    found = {}
    for name in ("a8", "a16"):
        record = method_of(trained["plain"]).ranges[0]
        assert load(tmp_path / f"{name}.png", record).mean() == pytest.approx(dark.mean() / 255, rel=1e-5)
        found[name], said = call(tmp_path / f"{name}.png", tmp_path / "a8.png", "--run", trained["plain"], "--json")
        assert f"{name}.png uses" in said
        assert "--range-source" in said
    np.testing.assert_allclose(found["a8"]["homography"], found["a16"]["homography"], atol=1e-4)


def test_a_range_can_be_said(tmp_path, scene):
    for name, image in zip("ab", scene, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.tif"), as_counts(image))
    files = (tmp_path / "a.tif", tmp_path / "b.tif", "--registrator", "sift", "--json")
    found, _ = call(*files, "--range-source", f"{LOW}..{HIGH}", "--range-target", "image:1")
    assert found["ranges"]["source"] == {"values": [LOW, HIGH], "how": "as set"}
    assert found["ranges"]["target"]["how"] == "percentiles of the image (image:1)"
    with pytest.raises(DataError, match="no set"):
        call(*files, "--range-source", "percentile:1")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_with_no_data_are_opened(tmp_path, scene, dtype):
    for name, image in zip("ab", scene, strict=True):
        pixels = (image / 255).astype(dtype)
        pixels[:30, :50] = np.nan
        cv2.imwrite(str(tmp_path / f"{name}.tif"), pixels)
    assert torch.isfinite(load(tmp_path / "a.tif")).all()
    found, said = call(tmp_path / "a.tif", tmp_path / "b.tif", "--registrator", "sift", "--json")
    assert found["ok"]
    assert "of its range" not in said
    np.testing.assert_allclose(found["homography"], TRUTH, atol=1)


def test_truncated_files_are_refused(tmp_path, scene, capfd):
    cv2.imwrite(str(tmp_path / "a.jpg"), scene[0])
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg \(\d+ bytes\) is truncated or not an image"):
        call(tmp_path / "cut.jpg", tmp_path / "a.jpg", "--registrator", "sift")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["out", "out.jp", "x.xyz", ".png"])
def test_an_overlay_without_a_format_is_refused_before_any_work(tmp_path, name, monkeypatch):
    monkeypatch.setattr(aligner, "load", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(UsageError, match=r"written as \.png, \.jpg"):
        call("none.png", "none.png", "--registrator", "sift", "--overlay", tmp_path / name)
    with pytest.raises(UsageError, match="there is no folder"):
        call("none.png", "none.png", "--registrator", "sift", "--overlay", tmp_path / "none/x.png")


def test_large_images_are_shrunk_and_the_answer_is_in_their_pixels(tmp_path, scene):
    for name, image in zip("ab", scene, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.png"), cv2.resize(image, (960, 800), interpolation=cv2.INTER_CUBIC))
    files = (tmp_path / "a.png", tmp_path / "b.png", "--registrator", "sift", "--json")
    grow = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1.0]])
    expected = grow @ TRUTH @ np.linalg.inv(grow)
    points = np.array([[[80.0, 80.0], [880.0, 80.0], [80.0, 720.0], [880.0, 720.0]]])
    truth = cv2.perspectiveTransform(points, expected)
    for side in (240, 960):
        found, said = call(*files, "--max-side", side)
        assert found["max_side"] == side
        assert "of its range" not in said
        assert np.abs(cv2.perspectiveTransform(points, np.array(found["homography"])) - truth).max() < 1


@pytest.mark.parametrize("error", [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough memory"),
    cv2.error("OpenCV(5.0.0) alloc.cpp: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
])  # fmt: skip
def test_want_of_memory_is_one_line_that_says_what_to_do(monkeypatch, error):
    from regbench_matchers.sift import SIFT

    def fail(self, source, target):
        raise error

    monkeypatch.setattr(SIFT, "forward", fail)
    with pytest.raises(RegbenchError, match=r"sift: images of 40x30 and 40x30 px take more memory.*--max-side"):
        method_of("sift").find(*torch.rand(2, 30, 40, 3).numpy())


def test_cases_from_outside(shared_data):
    """Files that were answered wrongly once."""
    cases = shared_data.parent / "cases"
    if not cases.is_dir():
        pytest.skip(f"no cases at {cases}")
    hot = cases / "thermal-hot-pixel"
    found, _ = call(hot / "a_hot.tif", hot / "b.tif", "--registrator", "sift", "--json")
    np.testing.assert_allclose(found["homography"], TRUTH, atol=1)
    kinds = cases / "tiff-types-register"
    for name in ("a", "nan", "f64", "u32"):
        found, said = call(kinds / f"{name}.tif", kinds / "b.png", "--registrator", "sift", "--json")
        assert found["ok"]
        assert "of its range" not in said
        assert "percentiles" in found["ranges"]["source"]["how"]
    assert "5 bands; bands 1,2,3 are used" in open_image(kinds / "five.tif").notes[0]
    with pytest.raises(DataError, match="truncated"):
        open_image(cases / "truncated-jpeg-register/cut.jpg")
    skew = cases / "register-16bit-skew"
    stored = cv2.imread(str(skew / "a16.png"), cv2.IMREAD_UNCHANGED)
    assert load(skew / "a16.png", "0..255 of uint8").mean() == pytest.approx(stored.mean() / 65535, rel=1e-4)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((40, 50), np.nan, np.float32), "holds no data"),
        (np.zeros((40, 50, 4), np.uint8), "holds no data"),
        (np.zeros((3, 50), np.uint8), "is 50x3 px; at least 16 px"),
        (np.zeros((1, 1), np.uint8), "is 1x1 px; at least 16 px"),
    ],
)
def test_an_image_without_anything_to_find(image, says, tmp_path, scene):
    cv2.imwrite(str(tmp_path / "a.png"), scene[0])
    name = f"b.{'tif' if image.dtype == np.float32 else 'png'}"
    cv2.imwrite(str(tmp_path / name), image)
    found = CliRunner().invoke(command, [str(tmp_path / "a.png"), str(tmp_path / name)], standalone_mode=False)
    assert isinstance(found.exception, DataError)
    assert name in str(found.exception)
    assert says in str(found.exception)


@pytest.mark.parametrize("method", ["rift", "identity"])
def test_images_that_cannot_be_shown_alike(method):
    strip = np.tile(np.arange(4000, dtype=np.uint8), (80, 1))
    with pytest.raises(UsageError, match=r"cannot align source .4000x80 px. with target .500x500 px."):
        regbench.align(strip, np.tile(strip[:50, :500], (10, 1)), method)
