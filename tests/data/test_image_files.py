"""Every kind of image file is opened rightly or refused with the kind of its pixels."""

import io
import os
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from regbench.data.image_files.decode import decode
from regbench.data.image_files.refused import Refused
from regbench.data.reading import read_image
from regbench.errors import DataError

RNG = np.random.default_rng(0)
SIZE = (48, 64)


def drawn(dtype, bands=1):
    shape = SIZE if bands == 1 else (*SIZE, bands)
    if np.dtype(dtype).kind == "f":
        return (RNG.standard_normal(shape) * 100).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def tiff(image, **options):
    """Bytes of a TIFF; ``planes=True`` stores its bands one after the other."""
    if options.pop("planes", False):
        image = np.moveaxis(image, -1, 0)
        options["planarconfig"] = "separate"
    elif image.ndim == 3:
        options["planarconfig"] = "contig"
    out = io.BytesIO()
    tifffile.imwrite(out, image, **{"photometric": "minisblack" if image.ndim == 2 else "rgb"} | options)
    return out.getvalue()


def encoded(suffix, image, *options):
    ok, data = cv2.imencode(suffix, image if image.ndim == 2 else image[..., ::-1], options)
    assert ok
    return data.tobytes()


def pillow(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


PHOTO = cv2.GaussianBlur(RNG.integers(0, 256, (80, 90, 3)).astype(np.uint8), (0, 0), 4)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("options", [
    {},
    {"tile": (16, 16)},
    {"tile": (32, 32), "compression": "zlib", "predictor": True},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"rowsperstrip": 5, "compression": "zlib"},
])  # fmt: skip
def test_tiffs_of_8_and_16_bits_are_as_stored(dtype, options):
    grey, colour = drawn(dtype), drawn(dtype, 3)
    np.testing.assert_array_equal(decode(tiff(grey, **options)), grey)
    np.testing.assert_array_equal(decode(tiff(colour, **options)), colour)
    np.testing.assert_array_equal(decode(tiff(colour, planes=True, **options)), colour)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("colour", [False, True])
def test_tiffs_compressed_by_lzw(dtype, colour):
    image = drawn(dtype, 3 if colour else 1)
    data = encoded(".tif", image)  # LZW is what OpenCV writes
    assert tifffile.TiffFile(io.BytesIO(data)).pages[0].compression == 5
    np.testing.assert_array_equal(decode(data), image)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_white_is_zero_is_turned_whatever_the_depth(dtype):
    image = drawn(dtype)
    found = decode(tiff(np.iinfo(dtype).max - image, photometric="miniswhite"))
    np.testing.assert_array_equal(found, image)


def test_white_is_zero_under_lzw():
    """OpenCV decodes it, and turns 8 bits alone."""
    for dtype in ("u1", "u2"):
        image = drawn(dtype)
        data = bytearray(encoded(".tif", np.iinfo(dtype).max - image))
        at = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags["PhotometricInterpretation"].valueoffset
        data[at] = 0
        np.testing.assert_array_equal(decode(bytes(data)), image)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "u4"])
def test_other_kinds_of_pixels_come_as_float32(dtype):
    for image in (drawn(dtype), drawn(dtype, 3)):
        found = decode(tiff(image))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, image.astype(np.float32))


def test_pixels_without_a_value_are_nan():
    image = drawn("f4")
    image[3:9, 5:20], image[20, 20] = np.nan, np.inf
    expected = np.where(np.isfinite(image), image, np.nan)
    np.testing.assert_array_equal(decode(tiff(image)), expected)
    stored = np.where(np.isnan(expected), -9999, expected).astype("f4")
    nodata = [(42113, "s", 6, "-9999", True)]
    np.testing.assert_array_equal(decode(tiff(stored, extratags=nodata)), expected)
    low = np.where(np.isnan(expected), -32768, 7).astype("i2")
    found = decode(tiff(low, extratags=[(42113, "s", 7, "-32768", True)]))
    np.testing.assert_array_equal(found, np.where(np.isnan(expected), np.nan, 7))


@pytest.mark.parametrize("bands", [2, 4, 5, 8])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("planes", [False, True])
def test_bands_that_are_no_colours_are_refused_with_their_number(bands, dtype, planes):
    extra = ["unspecified"] * (bands - (1 if bands == 2 else 3))
    kind = "minisblack" if bands == 2 else "rgb"
    with pytest.raises(Refused, match=f"has {bands} bands"):
        decode(tiff(drawn(dtype, bands), extrasamples=extra, photometric=kind, planes=planes))


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_alpha_is_dropped_and_changes_no_colour(dtype):
    image = drawn(dtype, 4)
    np.testing.assert_array_equal(decode(tiff(image, extrasamples=["unassalpha"])), image[..., :3])
    grey = image[..., :2]
    found = decode(tiff(grey, extrasamples=["unassalpha"], photometric="minisblack"))
    np.testing.assert_array_equal(found, grey[..., 0])
    bgra = np.ascontiguousarray(image[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(decode(cv2.imencode(".png", bgra)[1].tobytes()), image[..., :3])


def test_lzw_with_alpha_is_not_multiplied():
    """OpenCV decodes it, and multiplies 8-bit colours by an alpha that is not said to be in them already."""
    image = drawn("u1", 4)
    for kind in ("RGBA", "LA"):
        picture = Image.fromarray(image).convert(kind)
        data = pillow(picture, "TIFF", compression="tiff_lzw")
        expected = np.asarray(picture)[..., :-1].squeeze()
        found = decode(data)
        np.testing.assert_array_equal(found if found.ndim == expected.ndim else found[..., 0], expected)
    for dtype in ("u1", "u2"):  # OpenCV writes alpha without saying so
        image = drawn(dtype, 4)
        data = cv2.imencode(".tif", np.ascontiguousarray(image[..., [2, 1, 0, 3]]))[1].tobytes()
        np.testing.assert_array_equal(decode(data), image[..., :3])


def test_bands_are_counted_whatever_decodes_them():
    """OpenCV, which decodes LZW, reads two bands of 16 bits as one of 8."""
    for bands in (2, 5):
        data = bytearray(tiff(drawn("u2", bands), photometric="minisblack", extrasamples=["unspecified"] * (bands - 1)))
        at = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags["Compression"].valueoffset
        data[at] = 5
        with pytest.raises(Refused, match=f"has {bands} bands"):
            decode(bytes(data))


def test_kinds_that_opencv_gets_wrong_ask_for_the_package_that_does_not():
    """Planes of LZW pixels: nothing here decodes them rightly."""
    data = bytearray(encoded(".tif", drawn("u2", 3)))
    at = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags["PlanarConfiguration"].valueoffset
    data[at] = 2
    with pytest.raises(Refused, match=r"planes of 16-bit RGB pixels compressed by LZW.*imagecodecs"):
        decode(bytes(data))


def test_palettes_bits_and_inks():
    picture = Image.fromarray(PHOTO)
    palette = picture.quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(pillow(palette, kind)), expected)
    bits = picture.convert("1")
    for kind, options in (("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "group4"})):
        found = decode(pillow(bits, kind, **options))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, np.asarray(bits) * np.uint8(255))
    inks = picture.convert("CMYK")
    for kind in ("JPEG", "TIFF"):
        difference = np.abs(decode(pillow(inks, kind)).astype(int) - np.asarray(inks.convert("RGB")))
        assert difference.mean() < 3


def test_jpeg_in_a_tiff():
    found = decode(pillow(Image.fromarray(PHOTO), "TIFF", compression="jpeg", quality=95))
    assert np.abs(found.astype(int) - PHOTO).mean() < 2


def test_the_first_page_counts():
    first, second = drawn("u2"), drawn("u2")
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for page in (first, second):
            writer.write(page, photometric="minisblack")
    np.testing.assert_array_equal(decode(out.getvalue()), first)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_every_format(orientation):
    from PIL import ImageOps

    picture = Image.fromarray(PHOTO[..., 0])
    exif = Image.Exif()
    exif[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(pillow(picture, "PNG", exif=exif)))))
    np.testing.assert_array_equal(decode(pillow(picture, "PNG", exif=exif)), expected)
    turned = tiff(PHOTO[..., 0], extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_array_equal(decode(turned), expected)
    photo = decode(pillow(picture, "JPEG", exif=exif, quality=98))
    assert photo.shape == expected.shape
    assert np.abs(photo.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_pixels_are_those_of_opencv(subsampling):
    """Packs of published sets were made with OpenCV: their hashes stay."""
    data = pillow(Image.fromarray(PHOTO), "JPEG", quality=80, subsampling=subsampling)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode(data), expected)


FORMATS = {
    "jpeg": pillow(Image.fromarray(PHOTO), "JPEG", quality=90),
    "progressive jpeg": pillow(Image.fromarray(PHOTO), "JPEG", quality=90, progressive=True),
    "png": encoded(".png", PHOTO),
    "16-bit png": encoded(".png", PHOTO.astype(np.uint16) * 257),
    "tiff": tiff(PHOTO),
    "lzw tiff": encoded(".tif", PHOTO),
    "deflate tiff": tiff(PHOTO, compression="zlib", tile=(32, 32)),
    "bmp": encoded(".bmp", PHOTO),
    "webp": pillow(Image.fromarray(PHOTO), "WEBP", lossless=True),
    "ppm": encoded(".ppm", PHOTO),
    "pgm": encoded(".pgm", PHOTO[..., 0]),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(name, part, tmp_path, capfd):
    path = tmp_path / "cut.xyz"
    path.write_bytes(FORMATS[name][: int(len(FORMATS[name]) * part)])
    with pytest.raises(DataError, match=rf"cut\.xyz \({path.stat().st_size} bytes\) is truncated or not an image"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "png"])
def test_a_truncated_file_padded_with_zeros_is_refused(name):
    data = FORMATS[name]
    with pytest.raises(Refused, match="truncated"):
        decode(data[: len(data) // 2] + bytes(1_000_000))  # so many that libjpeg takes them for the rest of the image


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("trailer", [bytes(200_000), b"\xff\xd8\xff\xe1 a second picture \xff" * 3])
def test_what_follows_the_image_does_not_matter(name, trailer):
    np.testing.assert_array_equal(decode(FORMATS[name] + trailer), decode(FORMATS[name]))


def test_a_jpeg_cut_behind_its_thumbnail_is_refused():
    exif = Image.Exif()
    exif[270] = "x"
    whole = pillow(Image.fromarray(PHOTO), "JPEG", exif=exif.tobytes() + FORMATS["jpeg"])
    assert whole.count(b"\xff\xd9") == 2
    decode(whole)
    with pytest.raises(Refused, match="truncated"):
        decode(whole[: len(whole) * 3 // 4])


def test_decoders_do_not_write_to_the_terminal(capfd):
    """libpng and libjpeg print warnings of their own: on odd colour profiles, and on bytes before a marker."""
    picture = Image.fromarray(PHOTO)
    np.testing.assert_array_equal(decode(pillow(picture, "PNG", icc_profile=bytes(200))), PHOTO)
    jpeg = FORMATS["jpeg"]
    decode(jpeg[:-2] + b"\x00\x00\x00" + jpeg[-2:])
    for data in (b"", b"no image at all", b"II*\0rubbish", b"\x89PNG\r\n\x1a\nrubbish", b"RIFF....WEBPrubbish"):
        with pytest.raises(Refused):
            decode(data)
    assert capfd.readouterr().err == ""


def test_a_flipped_byte_in_a_png_is_refused():
    data = bytearray(FORMATS["png"])
    data[len(data) // 2] ^= 0x10
    with pytest.raises(Refused, match="truncated or not an image"):
        decode(bytes(data))


def test_complex_pixels_are_refused_by_their_name():
    with pytest.raises(Refused, match="complex64"):
        decode(tiff(np.ones(SIZE, np.complex64)))


def _png_header(width, height, depth=16):
    def chunk(kind, body):
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + bytes([depth, 2, 0, 0, 0])
    rows = zlib.compress(bytes(1 + 6 * width))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _jpeg_of(width, height):
    data = pillow(Image.fromarray(PHOTO), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2) + width.to_bytes(2) + data[at + 4 :]


def _many_scans():
    data = pillow(Image.fromarray(PHOTO), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 300 + b"\xff\xd9"


BOMBS = {
    "png": lambda: _png_header(20000, 20000),
    "jpeg": lambda: _jpeg_of(60000, 60000),
    "jpeg of many scans": _many_scans,
    "bmp": lambda: (
        pillow(Image.fromarray(PHOTO), "BMP")[:18]
        + struct.pack("<ii", 30000, 30000)
        + pillow(Image.fromarray(PHOTO), "BMP")[26:]
    ),
    "ppm": lambda: b"P6\n50000 50000\n255\n" + bytes(1000),
    "tiff": lambda: tiff_of_size(60000, 60000),
}


def tiff_of_size(width, height):
    """A TIFF of one small deflated strip that claims to be of this size."""
    data = bytearray(tiff(PHOTO, compression="zlib", rowsperstrip=1000))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        for tag, value in (("ImageWidth", width), ("ImageLength", height)):
            found = file.pages[0].tags[tag]
            form = "<H" if found.dtype == 3 else "<I"
            struct.pack_into(form, data, found.valueoffset, value)
    return bytes(data)


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_small_file_that_unfolds_to_a_huge_image_is_refused_unread(bomb):
    data = bomb()
    assert len(data) < 10**6
    began = time.monotonic()
    with pytest.raises(Refused, match=r"px, more than|scans|too large"):
        decode(data)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "image.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"image\.png is (no file|a folder)"):
        read_image(path)
