"""Stored pixels by windows and in reduced size are those of the whole image."""

import cv2
import numpy as np
import pytest
import tifffile

from regbench.alignment import windows
from regbench.alignment.images import open_image
from regbench.alignment.windows import TiffPixels, Window
from regbench.errors import UsageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 65536, (200, 300), np.uint16)
COLOUR = RNG.integers(0, 256, (200, 300, 3), np.uint8)
FOUR = RNG.integers(0, 60000, (200, 300, 4), np.uint16)
KINDS = {
    "strips": (GREY, {"rowsperstrip": 7}),
    "tiles": (GREY, {"tile": (64, 48), "compression": "zlib", "predictor": True}),
    "colour tiles": (COLOUR, {"tile": (64, 64), "photometric": "rgb"}),
    "float": (GREY.astype(np.float32) / 9, {"tile": (32, 32)}),
    "planes": (np.moveaxis(COLOUR, -1, 0), {"photometric": "rgb", "planarconfig": "separate", "tile": (64, 64)}),
    "four bands": (FOUR, {"photometric": "minisblack", "planarconfig": "contig", "tile": (64, 64)}),
    "big endian": (GREY, {"byteorder": ">"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_a_tiff_are_parts_of_it(tmp_path, kind):
    array, how = KINDS[kind]
    how = dict(how)
    tifffile.imwrite(tmp_path / "x.tif", array, byteorder=how.pop("byteorder", "<"), **how)
    whole = np.moveaxis(array, 0, -1) if kind == "planes" else array
    whole = whole.reshape(200, 300, -1)
    pixels = TiffPixels(tmp_path / "x.tif")
    assert (pixels.size, pixels.bands, pixels.dtype) == ((200, 300), whole.shape[2], whole.dtype)
    for window in (Window(0, 200, 0, 300), Window(60, 131, 40, 222), Window(199, 200, 299, 300)):
        part = whole[window.top : window.bottom, window.left : window.right]
        np.testing.assert_array_equal(pixels.read(window), part)


def test_only_what_lies_under_a_window_is_decoded(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((2000, 2000), np.uint8), tile=(256, 256), compression="zlib")
    pixels = TiffPixels(tmp_path / "x.tif")
    decoded = []
    original = pixels._page.decode
    monkeypatch.setattr(pixels._page, "decode", lambda data, index: (decoded.append(index), original(data, index))[1])
    pixels.read(Window(300, 400, 300, 700))
    assert decoded == [9, 10]


def test_a_tile_is_decoded_once(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((600, 600), np.uint8), tile=(256, 256), compression="zlib")
    pixels = TiffPixels(tmp_path / "x.tif")
    decoded = []
    original = pixels._page.decode
    monkeypatch.setattr(pixels._page, "decode", lambda data, index: (decoded.append(index), original(data, index))[1])
    for top in range(0, 256, 16):
        pixels.read(Window(top, top + 16, 0, 600))
    assert decoded == [0, 1, 2]
    monkeypatch.setattr(windows, "_KEPT_BYTES", 2 * 256 * 256)
    pixels.read(Window(0, 600, 0, 600))
    assert len(pixels._kept) <= 2


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_of_one_strip_is_not_decoded_for_each_window(tmp_path, monkeypatch, compression):
    monkeypatch.setattr("regbench.alignment.images.LARGE_SEGMENT", 1000)
    for name, array in (("grey", GREY), ("colour", COLOUR)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, rowsperstrip=200, compression=compression)
        image = open_image(tmp_path / f"{name}.tif")
        assert not isinstance(image.pixels, TiffPixels)
        np.testing.assert_array_equal(image.pixels.read(Window(7, 90, 3, 80)).squeeze(), array[7:90, 3:80])


@pytest.mark.parametrize("factor", [1, 3, 2.5])
def test_a_reduced_view_averages_areas_and_knows_its_place(factor, monkeypatch):
    monkeypatch.setattr(windows, "_STRIP_PIXELS", 3000)  # several strips
    y, x = np.mgrid[:240, :300].astype(np.float32)
    view = open_image(np.stack([x, y, x + y], -1), values="0..600").view(factor)
    assert view.pixels.shape[:2] == (round(240 / factor), round(300 / factor))
    h, w = view.pixels.shape[:2]
    for at in ((0, 0), (w - 1, h - 1), (w // 2, h // 3)):
        place = view.to_whole @ (*at, 1)
        np.testing.assert_allclose(view.pixels[at[1], at[0], :2] * 600, place[:2], atol=0.02 if factor != 2.5 else 0.2)


def test_a_window_knows_its_place():
    y, x = np.mgrid[:240, :300].astype(np.float32)
    view = open_image(np.stack([x, y, x], -1), values="0..600").view(2, Window(31, 400, 57, 100))
    np.testing.assert_allclose(view.pixels[0, 0, :2] * 600, [57.5, 31.5], atol=0.01)
    np.testing.assert_allclose((view.to_whole @ (0, 0, 1))[:2], [57.5, 31.5])


@pytest.mark.parametrize("kind", ["nan", "nodata", "alpha"])
def test_what_has_no_data_makes_no_edge(tmp_path, kind):
    image = cv2.GaussianBlur(RNG.random((120, 160)).astype(np.float32), (0, 0), 9)
    image = 100 + 100 * (image - image.min()) / np.ptp(image)
    hole = np.zeros((120, 160), bool)
    hole[40:80, 50:100] = True
    path = tmp_path / ("x.png" if kind == "alpha" else "x.tif")
    if kind == "alpha":
        stored = np.dstack([image.round().astype(np.uint8)] * 3 + [np.where(hole, 0, 255).astype(np.uint8)])
        stored[hole, :3] = 0
        cv2.imwrite(str(path), stored)
    else:
        stored = np.where(hole, np.nan if kind == "nan" else -9999, image).astype(np.float32)
        tifffile.imwrite(path, stored, extratags=[(42113, 2, 6, "-9999", True)] if kind == "nodata" else [])
    found = open_image(path, values="0..255")
    view = found.view(1)
    np.testing.assert_array_equal(view.valid, ~hole)
    np.testing.assert_allclose(view.pixels[~hole][:, 0] * 255, image[~hole], atol=0.51)
    steps = np.abs(np.diff(view.pixels[60, :, 0]))
    assert steps.max() < 0.15  # zeros would step by 0.4
    assert kind == "alpha" or found.with_range(None).values.low > 90


def test_bands_are_chosen_and_what_is_chosen_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", FOUR, photometric="minisblack", planarconfig="contig")
    image = open_image(tmp_path / "x.tif", values="0..60000")
    assert image.chosen == (0, 1, 2)
    assert "4 bands; bands 1,2,3 are used" in image.notes[0]
    grey = open_image(tmp_path / "x.tif", values="0..60000", bands=(4,))
    np.testing.assert_allclose(grey.view(1).pixels[..., 1], FOUR[..., 3] / 60000, atol=1e-6)
    assert grey.notes == ()
    with pytest.raises(UsageError, match="no band 5"):
        open_image(tmp_path / "x.tif", bands=(5,))
    with pytest.raises(UsageError, match="one band"):
        open_image(tmp_path / "x.tif", bands=(1, 2))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5), (0, 4)])
def test_arrays_that_are_no_images_are_refused(shape):
    with pytest.raises(UsageError, match="one image"):
        open_image(np.zeros(shape, np.uint8))
