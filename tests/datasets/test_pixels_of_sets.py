"""Pixels of a data set as its commands show them: what files hold, what of their range they use."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from regbench.cli.datasets import command
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import find
from regbench.errors import DataError, UsageError

LOW, HIGH = 7185, 9241
SIZE = ("--set", "height=64", "--set", "width=64")


@pytest.fixture(autouse=True)
def _packs(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def stored(tmp_path, images, write):
    """A set for the reader ``folder`` whose target is ``write(path, image)`` of each image, and source the image."""
    for split in ("train", "test"):
        for i, image in enumerate(images):
            image = image if split == "train" else np.ascontiguousarray(image.T)  # no image is in both splits
            for side in ("source", "target"):
                (tmp_path / split / side).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / split / "source" / f"{i}.png"), image)
            write(tmp_path / split / "target" / f"{i}", image)
    return tmp_path


@pytest.fixture
def thermal(tmp_path, smooth_images):
    def write(path, image):
        counts = (LOW + image.astype(float) * (HIGH - LOW) / 255).round().astype(np.uint16)
        assert cv2.imwrite(f"{path}.tif", counts)

    return stored(tmp_path, smooth_images(3, (64, 64)), write)


def test_prepare_and_stats_tell_of_a_range_that_is_hardly_used(thermal):
    for verb in ("prepare", "stats", "preview"):
        more = ("--out", thermal / "x.png") if verb == "preview" else ()
        said = call(verb, "folder", "--root", thermal, *SIZE, *more).stderr
        line = next(line for line in said.splitlines() if "warning" in line)
        assert "target uses" in line
        assert "of its range 0..65535" in line
        assert "--set dataset.range_b=percentile:0.5" in line
    told = json.loads(call("stats", "folder", "--root", thermal, *SIZE, "--json").stdout)
    assert told["ranges"][1]["share"] < 0.04
    assert told["ranges"][1]["rule"] == "0..65535 of uint16"


@pytest.mark.parametrize("rule", [f"{LOW}..{HIGH}", "percentile:0.5", "image:0.5"])
def test_with_a_range_nothing_is_said_and_both_sides_are_one_picture(thermal, rule):
    result = call("prepare", "folder", "--root", thermal, *SIZE, "--set", f"range_b={rule}", "--json")
    assert "warning" not in result.stderr
    told = json.loads(result.stdout)
    pack = Pack.open(Path(told["path"]))
    assert told["ranges"]["b"] == pack.recorded_ranges[1]
    a, b = pack.images("train", "a").float() / 255, pack.images("train", "b")
    if rule.startswith("7185"):
        assert (a - b).abs().max() < 0.001
    else:  # stretched a little
        assert np.corrcoef(a.flatten(), b.flatten())[0, 1] > 0.98
    call("verify", "folder", *SIZE, "--set", f"range_b={rule}")


def test_settings_are_shown_for_every_set():
    for name in ("folder", "synthetic", "diml"):
        told = json.loads(call("info", name, "--json").stdout)["settings"]
        assert "LOW..HIGH" in told["range_a"]["description"]
        assert "range_b" in call("info", name).stdout


def test_preview_shows_what_a_network_sees(thermal):
    """Not what could be seen if the contrast were stretched."""
    from regbench.report.figures import contact_sheet

    call("prepare", "folder", "--root", thermal, *SIZE)
    pack = find("folder", root=thermal, settings={"height": 64, "width": 64})
    seen = contact_sheet._pictures(pack, "train", "b", np.arange(3))
    expected = (pack.images("train", "b")[:, 0].numpy() * 255).round()
    np.testing.assert_array_equal(np.stack(seen)[..., 0], expected)
    assert np.ptp(np.stack(seen)) < 12


def test_preview_names_its_formats_before_any_work(thermal):
    for out in ("p.xyz", "p", "p.jpg"):
        with pytest.raises(UsageError, match=r"written as \.pdf, \.png, \.svg"):
            call("preview", "folder", "--root", thermal / "none", "--out", out)


def test_white_at_zero_is_turned_on_both_depths(tmp_path, smooth_images):
    def write(path, image):
        tifffile.imwrite(f"{path}.tif", 65535 - image.astype(np.uint16) * 257, photometric="miniswhite")

    root = stored(tmp_path, smooth_images(2, (64, 64)), write)
    call("prepare", "folder", "--root", root, *SIZE)
    pack = find("folder", root=root, settings={"height": 64, "width": 64})
    assert (pack.images("train", "a").float() / 255 - pack.images("train", "b")).abs().max() < 1e-5


def test_jpegs_in_padded_buffers_are_read(tmp_path, smooth_images):
    def write(path, image):
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
        path.with_suffix(".jpg").write_bytes(data + bytes(100_000))

    root = stored(tmp_path, smooth_images(2, (64, 64)), write)
    call("prepare", "folder", "--root", root, *SIZE)
    pack = find("folder", root=root, settings={"height": 64, "width": 64})
    assert (pack.images("train", "a").float() - pack.images("train", "b").float()).abs().mean() < 3


def test_floats_are_refused_with_what_to_do_and_read_with_a_range(tmp_path, smooth_images):
    root = stored(tmp_path, smooth_images(2, (64, 64)), lambda path, image: tifffile.imwrite(
        f"{path}.tif", 280 + image.astype(np.float32) / 10
    ))  # fmt: skip
    with pytest.raises(
        DataError, match=r"train pair '0': side B holds pixels .*\(float32 as read, here 28.*range_b=LOW\.\.HIGH"
    ):
        call("prepare", "folder", "--root", root, *SIZE)
    call("prepare", "folder", "--root", root, *SIZE, "--set", "range_b=280..305.5")
    pack = find("folder", root=root, settings={"height": 64, "width": 64, "range_b": "280..305.5"})
    assert (pack.images("train", "a").float() / 255 - pack.images("train", "b")).abs().max() < 1e-4
    assert pack.recorded_ranges[1] == "280..305.5 of float32"


def test_a_run_on_such_a_set_is_told(thermal, tmp_path):
    from regbench.cli.evaluate import command as evaluate

    arguments = ["--registrator", "identity", "--dataset", "folder", "--root", thermal, "--budget", "smoke"]
    sets = ["--set", "dataset.height=96", "--set", "dataset.width=96", "--out", tmp_path / "runs"]
    result = CliRunner().invoke(evaluate, [str(a) for a in arguments + sets], standalone_mode=False)
    assert result.exception is None
    assert "target uses" in result.stderr
