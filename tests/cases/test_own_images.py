"""Cases of `regbench register`: two images of one's own."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from tests.cases.conftest import one_line
from tests.e2e.command_line import SMOKE

CORNERS = np.array([[0, 0, 1], [159, 0, 1], [0, 119, 1], [159, 119, 1]], float).T


def apart(first, second) -> float:
    """Largest distance of the corners under two matrices, px."""
    a, b = (np.asarray(matrix) @ CORNERS for matrix in (first, second))
    return float(np.abs(a[:2] / a[2] - b[:2] / b[2]).max())


def scenes(folder):
    """``a.png`` and ``b.png``, alike and with much to find in them."""
    noise = np.random.RandomState(0).randint(0, 256, (15, 20, 3), np.uint8)
    image = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), image)


def test_truncated_jpeg_register(case, inline):
    case("truncated-jpeg-register")
    done = inline("register", "cut.jpg", "b.png", "--registrator", "sift", "--json")
    assert done.code == 1, done.out
    assert "cut.jpg" in one_line(done.err)
    assert "truncated" in done.err


def test_thermal_hot_pixel(case, inline):
    case("thermal-hot-pixel")
    done = inline("register", "a_hot.tif", "b.tif", "--registrator", "sift", "--json")
    assert done.code == 0, done.err
    assert apart(done.json["homography"], [[1, 0.02, 7], [-0.01, 1, -5], [0, 0, 1]]) < 1


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("a.tif", ["float32"]),
        ("nan.tif", ["float32", "NaN"]),
        ("f64.tif", ["float64"]),
        ("u32.tif", ["uint32"]),
        ("five.tif", ["five", "5"]),
    ],
)
def test_tiff_types_register(case, regbench, name, kinds):
    """Opened rightly, or refused with the kind of pixels; nothing else on standard error."""
    case("tiff-types-register")
    done = regbench("register", name, "b.png", "--registrator", "sift", "--json")
    if done.code:
        line = one_line(done.err)
        assert "no answer" in line or (name in line and any(kind in line for kind in kinds)), line
    else:
        assert done.err == ""
        assert np.isfinite(done.json["homography"]).all()


@pytest.mark.parametrize(
    ("image", "registrator"),
    [("w8.png", "rift"), ("w8.png", "phase-correlation"), ("col.png", "phase-correlation"), ("col.png", "orb")],
)
def test_tiny_image(case, inline, image, registrator):
    case("tiny-image")
    done = inline("register", image, image, "--registrator", registrator)
    assert done.code in (0, 1)
    for word in ("RuntimeError", "ZeroDivisionError", "Padding size", "(--debug shows where)"):
        assert word not in done.err


def test_overlay_suffix(case, inline, tmp_path):
    case("overlay-suffix")
    scenes(tmp_path)
    for name in ("out", "out.jp"):
        done = inline("register", "a.png", "b.png", "--registrator", "sift", "--overlay", name)
        assert done.code in (1, 2)
        assert ".png" in one_line(done.err)
    done = inline("datasets", "preview", "synthetic", "--out", "p.xyz", "--set", "train=6", "--set", "test=6")
    assert done.code in (1, 2)
    assert ".png" in one_line(done.err)


def test_register_16bit_skew(case, regbench, tmp_path):
    """The case's 8-bit twins hold 0 and 1 alone, so twins that are free of rounding are made here."""
    case("register-16bit-skew")
    for side in "ab":
        rounded = np.round(cv2.imread(str(tmp_path / f"{side}16.png"), cv2.IMREAD_UNCHANGED) / 257)
        cv2.imwrite(str(tmp_path / f"{side}-8.png"), rounded.astype(np.uint8))
        cv2.imwrite(str(tmp_path / f"{side}-16.png"), (rounded * 257).astype(np.uint16))
    trained = regbench("run", "--registrator", "mcnet", "--strategy", "supervised", *SMOKE, "-q")
    assert trained.code == 0, trained.err
    run = str(next((regbench.folder / "runs").iterdir()))
    answers = {}
    for bits in (16, 8):
        done = regbench("register", f"a-{bits}.png", f"b-{bits}.png", "--run", run, "--json")
        assert done.code == 0, done.err
        answers[bits] = done.json["homography"]
    assert apart(answers[16], answers[8]) < 0.01


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
@pytest.mark.parametrize("registrator", ["rift", "phase-correlation"])
def test_large_image(case, regbench, tmp_path, registrator):
    case("large-image")
    noise = np.random.RandomState(0).randint(0, 256, (100, 150, 3), np.uint8)
    image = cv2.resize(noise, (6000, 4000), interpolation=cv2.INTER_CUBIC)
    for name in ("big_a.jpg", "big_b.jpg"):
        cv2.imwrite(str(tmp_path / name), image)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (14 << 30, 14 << 30))"
    done = regbench("register", "big_a.jpg", "big_b.jpg", "--registrator", registrator, "--json", inject=limit)
    if done.code == 0:
        assert np.shape(done.json["homography"]) == (3, 3)
    else:
        assert done.code == 1
        assert "large" in one_line(done.err)
        assert "RuntimeError" not in done.err
