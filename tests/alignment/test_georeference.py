"""GeoTIFFs: where they lie is read, starts the search, and is written on what is warped."""

import json
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import tifffile

import regbench
from regbench.alignment.georeference import georeference_of, prior_homography
from regbench.alignment.images import open_image
from regbench.alignment.rasters import RasterPixels
from regbench.alignment.windows import Window
from tests.alignment.scenes import error, large

UTM = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
RASTERIO = find_spec("rasterio") is not None
needs_rasterio = pytest.mark.skipif(not RASTERIO, reason="rasterio is not installed")


def tags(x, y, pitch, keys=UTM):
    """A north-up image whose upper left corner lies at x, y."""
    tie = (0.0, 0.0, 0.0, x, y, 0.0)
    return [
        (33550, 12, 3, (pitch, pitch, 0.0), True),
        (33922, 12, 6, tie, True),
        (34735, 3, len(keys), keys, True),
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two 16-bit GeoTIFFs of one ground: 2 m and 1 m pixels; the source says it lies 40 m east and 14 m south of where
    it does."""
    folder = tmp_path_factory.mktemp("geo")
    ground = cv2.GaussianBlur(large(700), (0, 0), 2).astype(np.uint16) * 40 + 3000
    target = ground[50:650, 100:600] + 20000  # 1 m, upper left at 500100, 5299950
    source = ground[:480, :560].reshape(240, 2, 280, 2).mean((1, 3)).round().astype(np.uint16)  # at 500000, 5300000
    said = tags(500040, 5299986, 2.0)
    tifffile.imwrite(folder / "a.tif", source, extratags=said, tile=(128, 128), compression="zlib")
    tifffile.imwrite(folder / "b.tif", target, extratags=tags(500100, 5299950, 1.0), tile=(128, 128))
    truth = np.array([[2, 0, 0.5 - 100], [0, 2, 0.5 - 50], [0, 0, 1.0]])
    return folder, truth


def test_places_are_those_of_pixel_centres():
    corner = {33550: (2.0, 2.0, 0.0), 33922: (0, 0, 0, 1000.0, 5000.0, 0), 34735: UTM}
    np.testing.assert_allclose(georeference_of(corner).matrix @ (0, 0, 1), (1001, 4999, 1))
    point = corner | {34735: (*UTM[:11], 2, *UTM[12:])}
    np.testing.assert_allclose(georeference_of(point).matrix @ (0, 0, 1), (1000, 5000, 1))
    by_matrix = {34264: (2, 0, 0, 1000, 0, -2, 0, 5000, 0, 0, 0, 0, 0, 0, 0, 1), 34735: UTM}
    np.testing.assert_allclose(georeference_of(by_matrix).matrix, georeference_of(corner).matrix)
    assert georeference_of(corner).crs == "EPSG:32632"
    assert georeference_of({34735: UTM}) is None


def test_a_shift_on_the_map_is_found(files, tmp_path):
    folder, truth = files
    found = regbench.align(folder / "a.tif", folder / "b.tif", "sift")
    assert error(found.homography, truth, (240, 280)) < 0.5
    assert found.confidence >= 0.5
    out = found.save(tmp_path / "out")
    assert {p.name for p in out.iterdir()} >= {"warped.tif", "control_points.geojson", "homography.txt"}
    facts = json.loads((out / "alignment.json").read_text())
    assert facts["map"]["crs"] == "EPSG:32632"
    np.testing.assert_allclose(facts["map"]["shift"], (-40, 14), atol=0.5)
    middle = np.array(facts["map"]["homography"]) @ (139.5, 119.5, 1)
    np.testing.assert_allclose(middle[:2] / middle[2], (500280, 5299760), atol=0.5)
    points = json.loads((out / "control_points.geojson").read_text())["features"]
    assert len(points) >= 8
    for point in points:
        x, y = point["geometry"]["coordinates"]
        at = point["properties"]
        assert abs(500000 + 2 * (at["source_x"] + 0.5) - x) < 2
        assert abs(5300000 - 2 * (at["source_y"] + 0.5) - y) < 2


def test_the_warped_image_lies_on_the_targets_grid(files, tmp_path):
    folder, truth = files
    images = [open_image(folder / name) for name in ("a.tif", "b.tif")]
    alignment = regbench.Alignment(truth, True, 1.0, method="known", source=images[0], target=images[1])
    path = alignment.save(tmp_path) / "warped.tif"
    with tifffile.TiffFile(path) as file:
        written, page = file.asarray(), file.pages[0]
        got = {tag: page.tags[tag].value for tag in (33550, 33922, 34735)}
    assert (written.dtype, written.shape) == (np.uint16, (600, 500))
    assert got == {33550: (1.0, 1.0, 0.0), 33922: (0, 0, 0, 500100.0, 5299950.0, 0), 34735: UTM}
    np.testing.assert_array_equal(written, alignment.warp())
    target = tifffile.imread(folder / "b.tif").astype(int) - 20000
    inside = (slice(0, 425), slice(0, 455))
    assert np.abs(written[inside] - target[inside]).mean() < 60  # of 10200: the ground, blurred by the 2 m pixels
    assert (written[435:] == 0).all()


def test_maps_start_the_search(files, monkeypatch):
    """Shown at once where images look unlike at their own extents: the source is a twentieth of the target."""
    folder, _ = files
    a, b = (open_image(folder / name) for name in ("a.tif", "b.tif"))
    prior = prior_homography(a.georeference, b.georeference, a.size)
    expected = np.array([[2, 0, 0.5 - 60], [0, 2, 0.5 - 36], [0, 0, 1.0]])
    np.testing.assert_allclose(prior, expected, atol=1e-6)
    far = large(2400, seed=5)
    small, shift = far[1000:1120, 1700:1820], np.array([[1, 0, 1700], [0, 1, 1000], [0, 0, 1.0]])
    for name, image, place in (("small", small, (501702, 5298998)), ("far", far, (500000, 5300000))):
        tifffile.imwrite(folder / f"{name}.tif", image, extratags=tags(*place, 1.0))
    found = regbench.align(folder / "small.tif", folder / "far.tif", "phase-correlation")
    assert error(found.homography, shift, (120, 120)) < 0.5


def test_other_systems_are_not_compared_without_rasterio(monkeypatch):
    here = georeference_of({33550: (2.0, 2.0, 0.0), 33922: (0, 0, 0, 5e5, 5.3e6, 0), 34735: UTM})
    there = georeference_of({33550: (2.0, 2.0, 0.0), 33922: (0, 0, 0, 5e5, 5.3e6, 0), 34735: (*UTM[:-1], 32633)})
    monkeypatch.setattr("regbench.alignment.georeference.find_spec", lambda _: None)
    assert prior_homography(here, there, (100, 100)) is None


@needs_rasterio
def test_other_systems_are_compared_with_rasterio():
    from rasterio.warp import transform

    here = georeference_of({33550: (2.0, 2.0, 0.0), 33922: (0, 0, 0, 5e5, 5.3e6, 0), 34735: UTM})
    (x,), (y,) = transform("EPSG:32632", "EPSG:32633", [5e5 + 100], [5.3e6 - 100])
    there = georeference_of({33550: (1.0, 1.0, 0.0), 33922: (0, 0, 0, x - 50, y + 50, 0), 34735: (*UTM[:-1], 32633)})
    prior = prior_homography(here, there, (100, 100))
    at = prior @ (49.5, 49.5, 1)
    np.testing.assert_allclose(at[:2] / at[2], (49.5, 49.5), atol=0.02)


@needs_rasterio
def test_rasterio_reads_what_is_written_and_gdal_warps_the_same(files, tmp_path):
    import rasterio
    from rasterio.warp import Resampling, reproject

    folder, truth = files
    images = [open_image(folder / name) for name in ("a.tif", "b.tif")]
    alignment = regbench.Alignment(truth, True, 1.0, method="known", source=images[0], target=images[1])
    with rasterio.open(alignment.save(tmp_path) / "warped.tif") as ours, rasterio.open(folder / "b.tif") as target:
        assert ours.crs == target.crs == "EPSG:32632"
        assert ours.transform == target.transform
        written, place, crs = ours.read(1), target.transform, target.crs
    theirs = np.zeros((600, 500), np.uint16)
    true_place = rasterio.transform.from_origin(500000, 5300000, 2, 2)
    reproject(images[0].pixels.read(Window(0, 240, 0, 280))[..., 0], theirs, src_transform=true_place, src_crs=crs,
              dst_transform=place, dst_crs=crs, resampling=Resampling.bilinear)  # fmt: skip
    both = (written > 0) & (theirs > 0)
    assert both.mean() > 0.55
    assert ((written > 0) == (theirs > 0)).mean() > 0.99
    assert np.abs(written.astype(int) - theirs)[both].max() <= 2


@needs_rasterio
def test_rasterio_reads_lzw_by_windows(tmp_path):
    import rasterio

    image = np.random.default_rng(0).integers(0, 65536, (2, 90, 120), np.uint16)
    where = {"transform": rasterio.transform.from_origin(5e5, 5.3e6, 2, 2), "crs": "EPSG:32632"}
    how = {"compress": "lzw", "predictor": 2, "tiled": True, "blockxsize": 64, "blockysize": 64, "nodata": 7}
    size = {"width": 120, "height": 90, "count": 2, "dtype": "uint16"}
    with rasterio.open(tmp_path / "x.tif", "w", driver="GTiff", **size, **how, **where) as file:
        file.write(image)
    found = open_image(tmp_path / "x.tif")
    assert isinstance(found.pixels, RasterPixels) or found.pixels.size == (90, 120)
    np.testing.assert_array_equal(found.pixels.read(Window(10, 80, 20, 100)), np.moveaxis(image, 0, -1)[10:80, 20:100])
    assert found.pixels.nodata == 7
    np.testing.assert_allclose(found.georeference.matrix @ (0, 0, 1), (500001, 5299999, 1))
    assert found.georeference.crs == "EPSG:32632"
