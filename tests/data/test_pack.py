"""The pack: content hash, resume, damage, formats."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest

from regbench.api.config import ComponentConfig
from regbench.api.dataset import Card, Dataset, PairImages
from regbench.data.packs import writer as pack_writer
from regbench.data.packs.format import pack_path
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import data_dir, prepare
from regbench.errors import DataError

CARD = Card(
    title="made",
    modalities=("x", "y"),
    origin="here",
    licence="none",
    citation="none",
    layout="none",
    split="none",
    size_rule="none",
)


class Made(Dataset):
    """Random pairs from memory; counts what it decodes."""

    card = CARD

    def __init__(self, a=(40, 48, 3), b=(40, 48), dtype=np.uint8, fail_after=None, counts=(9, 4), **more):
        super().__init__(ComponentConfig(), None)
        self.shapes, self.dtype, self.fail_after, self.counts = (a, b), dtype, fail_after, counts
        self.decoded = []
        self.__dict__.update(more)

    @property
    def size(self):
        return (32, 48)

    def keys(self, split):
        return [f"{split}-ä{i}" for i in range(self.counts[split == "test"])]

    def image(self, key, side):
        seed = [*key.encode(), side]
        top = np.iinfo(self.dtype).max + 1
        return np.random.default_rng(seed).integers(0, top, self.shapes[side]).astype(self.dtype)

    def read(self, split, key):
        if self.fail_after is not None and len(self.decoded) >= self.fail_after:
            raise DataError(f"{key}.png is truncated or not an image")
        self.decoded.append(key)
        return PairImages(self.image(key, 0), self.image(key, 1))

    def group(self, split, key):
        return key[:-1] + str(int(key[-1]) // 2)


def made(tmp_path, name="made", **settings):
    return prepare(Made(**settings), name, "1", tmp_path / f"{name}.h5")


def test_what_goes_in_comes_out(tmp_path):
    pack = made(tmp_path, a=(32, 48, 3), b=(32, 48))
    assert (pack.size, pack.channels, pack.counts) == ((32, 48), (3, 1), {"train": 9, "test": 4})
    assert (pack.modalities, pack.aligned, pack.single) == (("x", "y"), True, False)
    assert pack.keys("test") == [f"test-ä{i}" for i in range(4)]
    assert pack.groups("train").tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert pack.homographies("train") is None
    a, b = pack.images("train", "a"), pack.images("train", "b")
    assert (a.shape, b.shape, a.numpy().dtype) == ((9, 3, 32, 48), (9, 1, 32, 48), np.uint8)
    assert np.array_equal(a[5].permute(1, 2, 0), Made(a=(32, 48, 3)).image("train-ä5", 0))
    pack.verify()
    assert [p.name for p in tmp_path.iterdir()] == ["made.h5"]


def test_hash_is_of_the_content(tmp_path):
    """Not of who prepared it, in which order, or how HDF5 lays it out."""
    one = prepare(Made(), "one", "1", tmp_path / "one.h5", workers=1)
    four = prepare(Made(), "four", "2", tmp_path / "four.h5", workers=4)
    assert one.sha256 == four.sha256
    with (
        h5py.File(one.path) as old,
        h5py.File(tmp_path / "laid.h5", "w") as new,
    ):
        new.attrs.update(old.attrs)
        for split in ("test", "train"):
            for key in reversed(old[split]):
                kind = {"dtype": h5py.string_dtype()} if key == "key" else {"compression": "gzip"}
                new.create_dataset(f"{split}/{key}", data=old[split][key][...], **kind)
    Pack.open(tmp_path / "laid.h5").verify()
    assert made(tmp_path, "other", counts=(9, 3)).sha256 != one.sha256


@pytest.mark.parametrize("after", [0, 1, 7, 11])
def test_resumes_where_it_stopped(tmp_path, after):
    first = Made(fail_after=after)
    with pytest.raises(DataError, match=r"ä\d\.png is truncated"):
        prepare(first, "made", "1", tmp_path / "made.h5", workers=1)
    assert not (tmp_path / "made.h5").exists()
    seen = []
    second = Made()
    pack = prepare(second, "made", "1", tmp_path / "made.h5", progress=lambda *told: seen.append(told))
    assert len(second.decoded) <= 13 - after  # what was stored is not decoded again
    assert not set(second.decoded) & set(first.decoded[:after])
    assert seen[-1] == ("test", 4, 4)
    assert pack.sha256 == made(tmp_path, "fresh").sha256


def test_another_version_does_not_resume(tmp_path):
    with pytest.raises(DataError):
        prepare(Made(fail_after=5), "made", "1", tmp_path / "made.h5", workers=1)
    again = Made()
    prepare(again, "made", "2", tmp_path / "made.h5")
    assert len(again.decoded) == 13


def test_killed_process_leaves_a_file_to_resume(tmp_path):
    """SIGKILL in the middle: no handler runs, only what was checkpointed counts."""
    script = f"""
        import sys, os, signal
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from regbench.data.packs import writer as pack_writer
        from tests.data.test_pack import Made
        pack_writer._CHECKPOINT = 3
        def progress(split, done, total):
            if (split, done) == ("train", 8):
                os.kill(os.getpid(), signal.SIGKILL)
        pack_writer.write_pack(Made(), "made", "1", Path({str(tmp_path / "made.h5")!r}), 1, progress)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=dict(os.environ), timeout=60)
    assert ended.returncode == -signal.SIGKILL
    second = Made()
    pack = prepare(second, "made", "1", tmp_path / "made.h5")
    assert len(second.decoded) == 13 - 6
    assert pack.sha256 == made(tmp_path, "fresh").sha256


def test_full_disk_is_one_line_and_resumable(tmp_path, monkeypatch):
    real, calls = pack_writer._Writer._sync, []

    def full(self):
        calls.append(self)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self)

    monkeypatch.setattr(pack_writer, "_CHECKPOINT", 4)
    monkeypatch.setattr(pack_writer._Writer, "_sync", full)
    with pytest.raises(DataError, match="no space left") as caught:
        made(tmp_path)
    assert "\n" not in str(caught.value)
    assert "made.h5.partial" in str(caught.value)
    monkeypatch.setattr(pack_writer._Writer, "_sync", real)
    again = Made()
    prepare(again, "made", "1", tmp_path / "made.h5")
    assert len(again.decoded) == 13 - 4


def test_space_is_taken_before_hours_of_decoding(tmp_path):
    """A limit on the size of files is a disk that is too small, and a real one."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    data = Made(counts=(900, 4))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot write .*made\.h5\.partial") as caught:
            prepare(data, "made", "1", tmp_path / "made.h5", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert len(data.decoded) < 20
    assert not (tmp_path / "made.h5").exists()


def test_colours_where_a_side_must_be_grey(tmp_path):
    with pytest.raises(DataError, match=r"y must be grey, but this picture has colours.*x and y swapped"):
        made(tmp_path, a=(32, 48), b=(32, 48, 3), grey=(False, True))
    assert not (tmp_path / "made.h5").exists()
    made(tmp_path, a=(32, 48, 3), b=(32, 48), grey=(False, True))


def test_tie_points_follow_the_resize(tmp_path):
    class Tied(Made):
        aligned = False

        def read(self, split, key):
            count = int(key[-1])  # pairs have different numbers of points
            points = np.arange(4.0 * count).reshape(count, 4) if count else None
            return PairImages(self.image(key, 0), self.image(key, 1), None, points)

    pack = prepare(Tied(a=(64, 96, 3), b=(32, 48), counts=(4, 3)), "t", "1", tmp_path / "t.h5")
    points = pack.points("train")
    assert points.shape == (4, 3, 4)
    assert np.isnan(points[0]).all()
    assert np.isnan(points[1, 1:]).all()
    np.testing.assert_allclose(points[2, 1], [1.75, 2.25, 6, 7])  # A is halved: x / 2 - 1/4; B stays
    assert pack.homographies("train") is None
    assert pack.points("test").shape == (3, 2, 4)
    pack.verify()
    assert made(tmp_path).points("train") is None


def test_damage_is_named(tmp_path):
    path = made(tmp_path).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    with pytest.raises(DataError, match=r"truncated.*regbench datasets prepare"):
        Pack.open(path)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="not a pack"):
        Pack.open(path)
    with pytest.raises(DataError, match="no pack at"):
        Pack.open(tmp_path / "absent.h5")
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="not a regbench pack"):
        Pack.open(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 99
    with pytest.raises(DataError, match="version 99"):
        Pack.open(path)


def test_verify_sees_one_byte(tmp_path):
    pack = made(tmp_path)
    with h5py.File(pack.path) as file:
        offset = file["test/a"].id.get_offset()
    data = bytearray(pack.path.read_bytes())
    data[offset + 1000] ^= 1
    pack.path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        Pack.open(pack.path).verify()


def test_sixteen_bits(tmp_path):
    class Depth(Made):
        max_values = (None, 10_000)

    pack = prepare(Depth(a=(32, 48), b=(32, 48), dtype=np.uint16), "d", "1", tmp_path / "d.h5")
    assert (pack.ranges, pack.channels) == (((0, 65535), (0, 10_000)), (1, 1))
    b = pack.images("train", "b")
    assert b.numpy().dtype == np.float32
    assert (b.min(), b.max()) == (pytest.approx(0, abs=1e-2), 1.0)  # what exceeds the declared top is clipped
    expected = np.minimum(Depth(b=(32, 48), dtype=np.uint16).image("train-ä3", 1) / 10_000, 1)
    np.testing.assert_allclose(b[3, 0], expected, rtol=1e-6)


def test_grey_stored_as_colour_and_mixed_sides(tmp_path):
    class Mixed(Made):
        def image(self, key, side):
            image = super().image(key, side)
            if side == 1 or key != "train-ä6":  # B: always three equal channels; A: one image in colour
                image[..., 1:] = image[..., :1]
            return image

    shape = (32, 48, 3)
    pack = prepare(Mixed(a=shape, b=shape), "m", "1", tmp_path / "m.h5", workers=1)
    assert pack.channels == (3, 1)
    a = pack.images("train", "a")
    for i in (2, 6, 8):
        assert np.array_equal(a[i].permute(1, 2, 0), Mixed(a=shape, b=shape).image(f"train-ä{i}", 0))
    assert pack.images("test", "a").shape == (4, 3, 32, 48)
    pack.verify()


def test_mixed_bit_depths_are_refused(tmp_path):
    class Mixed(Made):
        def image(self, key, side):
            return super().image(key, side).astype(np.uint16 if key == "train-ä6" else np.uint8)

    with pytest.raises(DataError, match=r"ä6.*uint16 pixels"):
        prepare(Mixed(), "m", "1", tmp_path / "m.h5")


def test_single_images_are_stored_once(tmp_path):
    class Single(Made):
        single = True

        def read(self, split, key):
            image = self.image(key, 0)
            return PairImages(image, image)

    pack = prepare(Single(), "s", "1", tmp_path / "s.h5")
    assert pack.single
    assert pack.images("train", "a").equal(pack.images("train", "b"))
    assert pack.path.stat().st_size < 1.3 * 13 * 32 * 48 * 3
    pack.verify()


def test_labels_follow_the_resize(tmp_path):
    class Given(Made):
        aligned = False

        def read(self, split, key):
            shift = np.array([[1, 0, 10.0], [0, 1, 4.0], [0, 0, 1]]) if key.endswith("1") else None
            return PairImages(self.image(key, 0), self.image(key, 1), shift)

    pack = prepare(Given(a=(64, 96, 3), b=(64, 96)), "g", "1", tmp_path / "g.h5")
    labels = pack.homographies("train")
    np.testing.assert_allclose(labels[1], [[1, 0, 5], [0, 1, 2], [0, 0, 1]], atol=1e-12)
    assert np.isnan(labels[0]).all()
    pack.verify()


def test_aligned_pairs_of_different_size_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"train-ä0.*\(40, 48\).*\(20, 24\)"):
        made(tmp_path, b=(20, 24))


def test_nothing_to_pack(tmp_path):
    with pytest.raises(DataError, match="no pairs"):
        made(tmp_path, counts=(0, 0))


def test_an_empty_split_is_allowed(tmp_path):
    pack = made(tmp_path, counts=(0, 3))
    assert pack.images("train", "a").shape == (0, 3, 32, 48)
    pack.verify()


def test_where_packs_live(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path))
    assert data_dir() == tmp_path
    paths = {
        pack_path("vedai", "1", config, root, tmp_path)
        for config in ({}, {"size": 64})
        for root in (None, tmp_path, tmp_path / "x")
    }
    assert len(paths) == 6
    assert all(p.parent == tmp_path and p.name.startswith("vedai-") and len(p.stem) == 16 for p in paths)
    monkeypatch.delenv("REGBENCH_DATA")
    assert data_dir() == Path("data")
