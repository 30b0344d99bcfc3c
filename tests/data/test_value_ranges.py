"""The value range of a data set: one rule, the same numbers in pack, training, evaluation and a user's own image."""

import numpy as np
import pytest
import torch

from regbench.api.dataset import PairImages
from regbench.data.images import Streamed, load, resident_bytes
from regbench.data.packs.format import content_hash
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import prepare
from regbench.data.stats import range_use, range_warnings
from regbench.data.value_ranges import ValueRange, parse_rule, percentiles, range_of, split_settings, stretched
from regbench.errors import DataError, UsageError
from tests.conftest import Arrays

RNG = np.random.default_rng(0)
LOW, HIGH = 7185, 9241


def counts(n=6, size=(40, 48), dtype=np.uint16):
    return [RNG.integers(LOW, HIGH, size, endpoint=True).astype(dtype) for _ in range(n)]


def packed(tmp_path, a, b=None, name="p", white=(None, None), **ranges):
    data = Arrays(a, b or a)
    data.__class__ = type("Ranged", (Arrays,), {"max_values": white})
    return prepare(data, "arrays", "1", tmp_path / f"{name}.h5", ranges=ranges)


@pytest.mark.parametrize(("text", "rule"), [
    ("full", "full"),
    (10000, "0..10000"),
    ("10000", "0..10000"),
    (" 7185..9241 ", "7185..9241"),
    ("0.5..1.5", "0.5..1.5"),
    ("-30..1e2", "-30..100"),
    ("..5", None),
    ("percentile:0.5", "percentile:0.5"),
    ("percentile:50", None),
    ("image:0.5", "image:0.5"),
    ("image:-1", None),
    ("9..9", None),
    ("9241..7185", None),
    ("0", None),
    ("nan..5", None),
    ("0..inf", None),
    ("white", None),
    (True, None),
    ([1, 2], None),
])  # fmt: skip
def test_rules_have_one_spelling_or_are_refused_with_their_setting(text, rule):
    if rule is None:
        with pytest.raises(UsageError, match="range_a="):
            parse_rule(text, "range_a")
    else:
        assert str(parse_rule(text, "range_a")) == rule
        assert str(parse_rule(rule, "range_a")) == rule


def test_settings_of_every_reader():
    own, ranges = split_settings({"size": 64, "range_a": 10000, "range_b": "percentile:1", "far": 3})
    assert (own, ranges) == ({"size": 64, "far": 3}, {"range_a": "0..10000", "range_b": "percentile:1"})
    assert split_settings({"range_a": None}) == ({}, {})


def test_without_a_range_a_pack_is_what_it_was(tmp_path):
    """Root attributes and hash of packs made before there were ranges."""
    import h5py

    a = [RNG.integers(0, 256, (20, 24, 3)).astype(np.uint8) for _ in range(3)]
    pack = packed(tmp_path, a)
    with h5py.File(pack.path) as file:
        assert {name for name in file.attrs if "value" in name or "range" in name} == {"max_value_a", "max_value_b"}
        assert file.attrs["max_value_a"] == 255
        assert content_hash(file) == pack.sha256
    assert pack.ranges == ((0, 255), (0, 255))
    assert pack.recorded_ranges == ("0..255 of uint8",) * 2


@pytest.mark.parametrize("resident", [True, False])
def test_counts_with_a_range_are_what_training_sees(tmp_path, monkeypatch, resident):
    a = counts()
    pack = packed(tmp_path, a, range_a=f"{LOW}..{HIGH}")
    assert pack.ranges == ((LOW, HIGH), (0, 65535))
    assert pack.recorded_ranges == ("7185..9241 of uint16", "0..65535 of uint16")
    monkeypatch.setenv("REGBENCH_RESIDENT_MB", "100" if resident else "0")
    seen, whole = (side.take(torch.arange(6)) for side in load(pack, "train", ("a", "b")))
    expected = torch.from_numpy(np.stack(a).astype(np.float64))[:, None]
    torch.testing.assert_close(seen.double(), (expected - LOW) / (HIGH - LOW), rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.double(), expected / 65535, rtol=0, atol=1e-6)
    torch.testing.assert_close(pack.images("test", "a"), seen)


def test_what_lies_beyond_is_clipped(tmp_path):
    a = [np.array([[0, 99, 100, 150, 200, 201, 65535]] * 40, np.uint16)]
    seen = packed(tmp_path, a, range_a="100..200").images("train", "a")
    torch.testing.assert_close(seen[0, 0, 0], torch.tensor([0, 0, 0, 0.5, 1, 1, 1]))


def test_a_range_of_8_bits_is_not_plain_8_bit(tmp_path):
    a = [np.tile(np.arange(256, dtype=np.uint8), (4, 1))]
    pack = packed(tmp_path, a, range_a="16..235", range_b=255)
    assert pack.images("train", "b").dtype == torch.uint8
    seen = pack.images("train", "a")[0, 0, 0]
    torch.testing.assert_close(seen, ((torch.arange(256.0) - 16) / 219).clamp(0, 1))
    assert resident_bytes(pack, "train", ("a",)) == 4 * resident_bytes(pack, "train", ("b",))


def test_the_readers_own_white_is_a_rule_that_the_setting_overrides(tmp_path):
    white = (10_000, None)
    pack = packed(tmp_path, counts(), white=white)
    assert pack.recorded_ranges == ("0..10000 of uint16", "0..65535 of uint16")
    assert packed(tmp_path, counts(), name="q", white=white, range_a="full").ranges[0] == (0, 65535)
    assert packed(tmp_path, counts(), name="r", white=white, range_a="1..2").ranges[0] == (1, 2)


def test_ranges_are_part_of_the_hash(tmp_path):
    a = counts()
    packs = [packed(tmp_path, a, name=str(i), **r) for i, r in enumerate(
        ({}, {"range_a": "0..9000"}, {"range_a": "7000..9000"}, {"range_b": "7000..9000"}, {"range_a": "image:1"})
    )]  # fmt: skip
    assert len({pack.sha256 for pack in packs}) == 5
    assert packed(tmp_path, a, name="again", range_a="full").sha256 == packs[0].sha256


def test_percentiles_are_of_the_training_split_and_recorded_as_numbers(tmp_path):
    class Split(Arrays):
        def read(self, split, key):
            pair = super().read(split, key)
            return pair if split == "train" else PairImages(pair.a + 20_000, pair.b)

    a = counts(40)
    for image in a:
        image[0, 0], image[1, 1] = 65535, 0  # dead pixels
    pack = prepare(Split(a, a), "arrays", "1", tmp_path / "p.h5", ranges={"range_a": "percentile:0.5"})
    exact = np.percentile(np.stack(a), (0.5, 99.5))
    np.testing.assert_allclose(pack.ranges[0], exact, atol=3)
    assert LOW <= pack.ranges[0].low < pack.ranges[0].high <= HIGH
    low, high = pack.ranges[0]
    assert pack.recorded_ranges[0] == f"{low:.0f}..{high:.0f} of uint16"
    assert Pack.open(pack.path).ranges == pack.ranges


def test_images_by_themselves_are_stretched_before_they_are_resized(tmp_path):
    a = [(image.astype(int) * (i + 1)).astype(np.uint16) for i, image in enumerate(counts(4))]
    a[0][0, 0] = 65535
    pack = packed(tmp_path, a, range_a="image:0.5")
    assert pack.recorded_ranges[0] == "image:0.5"
    seen = pack.images("train", "a")[:, 0].double().numpy()
    for image, found in zip(a, seen, strict=True):
        low, high = np.percentile(image, (0.5, 99.5), method="nearest")
        np.testing.assert_allclose(found, np.clip((image.astype(float) - low) / (float(high) - low), 0, 1), atol=1e-5)
    grey = np.full((8, 8), 7, np.uint8)
    assert stretched(grey, 0.5).max() == 0
    assert stretched(grey, 0.5).dtype == np.uint8


def test_floats_need_a_range_and_keep_what_has_no_value_black(tmp_path):
    a = [image / np.float32(10) for image in counts(dtype=np.float32)]
    a[0][5:9, 7:30] = np.nan
    with pytest.raises(
        DataError, match=r"train pair '0': side A holds pixels .*\(float32 as read, here 7\d\d.*range_a=LOW\.\.HIGH"
    ):
        packed(tmp_path, a)
    with pytest.raises(DataError, match=r"side B holds pixels .*float32"):
        packed(tmp_path, counts(), a, name="b")
    pack = packed(tmp_path, a, range_a="700..900", range_b="percentile:0", name="c")
    expected = np.nan_to_num(np.clip((np.stack(a) - 700) / 200, 0, 1))
    np.testing.assert_allclose(pack.images("train", "a")[:, 0].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(pack.ranges[1], (np.nanmin(a), np.nanmax(a)))
    assert pack.recorded_ranges[0] == "700..900 of float32"
    streamed = Streamed(pack, "train", "a").take(torch.arange(6))
    assert torch.equal(streamed, pack.images("train", "a"))
    pack.verify()


def test_ranges_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"range_a=7185\.\.9241 lies beyond all that uint8 pixels hold"):
        packed(tmp_path, [np.zeros((8, 8), np.uint8)], range_a="7185..9241")
    with pytest.raises(DataError, match=r"range_b=percentile:1: all pixels of side B have one value"):
        packed(tmp_path, counts(), [np.full((40, 48), 5, np.uint16)] * 6, name="q", range_b="percentile:1")

    class Single(Arrays):
        single = True

    with pytest.raises(UsageError, match="range_b: A and B are the same"):
        prepare(Single(counts(), counts()), "arrays", "1", tmp_path / "s.h5", ranges={"range_b": "0..9"})
    pack = prepare(Single(counts(), counts()), "arrays", "1", tmp_path / "s.h5", ranges={"range_a": "0..9000"})
    assert pack.ranges == ((0, 9000), (0, 9000))


def test_images_that_use_little_of_their_range_are_told_of(tmp_path):
    full = [RNG.integers(0, 256, (40, 48)).astype(np.uint8) for _ in range(6)]
    pack = packed(tmp_path, counts(), full)
    first, second = range_use(pack)
    assert first.share == pytest.approx((HIGH - LOW) / 65535, rel=0.02)
    assert (first.low, first.high) == pytest.approx((LOW, HIGH), abs=30)
    assert second.share > 0.95
    (line,) = range_warnings(pack)
    assert "first uses 3.1 % of its range 0..65535" in line
    assert "--set dataset.range_a=percentile:0.5, or range_a=7" in line
    for i, rule in enumerate((f"{LOW}..{HIGH}", "percentile:0.5", "image:0.5")):
        assert range_warnings(packed(tmp_path, counts(), full, name=str(i), range_a=rule)) == []


def test_a_user_s_own_image_without_a_record():
    frame = counts(1)[0]
    expected = tuple(np.percentile(frame, (0.5, 99.5), method="nearest"))
    hot = frame.copy()
    hot[3, 4], hot[9, 9] = 65535, 0
    for image in (frame, hot):
        values, how = range_of(image, None)
        assert values == pytest.approx(expected, abs=3)
        assert how == "percentiles of the image (image:0.5)"
    floats = frame.astype(np.float32)
    floats[:20] = np.nan
    assert range_of(floats, None)[0] == pytest.approx(expected, abs=30)
    assert range_of(frame.astype(np.uint8), None) == (ValueRange(0, 255), "all of uint8")


@pytest.mark.parametrize(("record", "dtype", "expected"), [
    ("0..255 of uint8", np.uint8, (0, 255)),
    ("0..255 of uint8", np.uint16, (0, 65535)),  # all of the type is all of any type
    ("0..65535 of uint16", np.uint8, (0, 255)),
    ("0..10000 of uint16", np.uint16, (0, 10000)),
    ("7185..9241 of uint16", np.uint16, (7185, 9241)),
    ("7185..9241 of uint16", np.uint8, (0, 255)),  # counts of another type say nothing of 8 bits
    ("280..320.5 of float32", np.float32, (280, 320.5)),
    ("100..200", np.float32, (100, 200)),
    ("full", np.uint16, (0, 65535)),
])  # fmt: skip
def test_a_user_s_own_image_by_the_record_of_a_run(record, dtype, expected):
    image = np.linspace(10, 250, 400).reshape(20, 20).astype(dtype)
    values, how = range_of(image, record)
    assert values == expected
    assert ("says nothing" in how) == (record.startswith("7185") and dtype == np.uint8)


def test_records_that_do_not_fit_an_image():
    image = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values, how = range_of(image, "0..255 of uint8")
    assert values == pytest.approx((0.005, 0.995), abs=0.003)
    assert "0..255 of uint8 says nothing of float32" in how
    with pytest.raises(DataError, match="no set"):
        range_of(image, "percentile:0.5")
    with pytest.raises(DataError, match="write full"):
        range_of(image, "rubbish")


def test_percentiles_of_few_bright_spots_reach_from_end_to_end():
    stars = np.zeros((50, 50), np.uint16)
    stars[7, 7] = 900
    assert percentiles([stars], 0.5) == (0, 900)
    assert percentiles([np.full((4, 4), np.nan, np.float32)], 0.5) is None


def test_a_pack_of_a_registered_set_knows_its_range(tmp_path, monkeypatch):
    """The settings belong to the pack's file and are found again without the images."""
    from regbench.data.packs.prepare import ensure, find

    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path))
    small = {"train": 2, "test": 2, "size": 64}
    plain = ensure("synthetic", settings=small)
    ranged = ensure("synthetic", settings=small | {"range_a": 200})
    assert plain.path != ranged.path
    assert ranged.ranges == ((0, 200), (0, 255))
    assert find("synthetic", settings=small | {"range_a": "0..200"}).path == ranged.path
    with pytest.raises(UsageError, match="did you mean 'range_a'"):
        ensure("synthetic", settings={"rang_a": 3})


def test_synthetic_keeps_its_hash(tmp_path, monkeypatch):
    """It has no ranges of its own; a change of what is drawn raises its rendering, and this hash with it."""
    from regbench.data.packs.prepare import ensure

    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path))
    pack = ensure("synthetic", settings={"train": 4, "test": 2, "size": 64})
    assert pack.sha256 == "4bed9fabba3e4a82ee1684c3fabc1e39563b4cc6b0c651a041d9eaa11522153f"
