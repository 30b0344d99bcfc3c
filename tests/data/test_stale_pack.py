"""A pack knows the files it was made of: another state of them is told, whoever read them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from regbench.api.dataset import Dataset, PairImages
from regbench.data import pack as packs
from regbench.data import pack_memo, pack_writer
from regbench.data.pack import Pack
from regbench.data.prepare import _current, available, ensure, prepare
from regbench.data.reading import read_image
from regbench.errors import DataError
from tests.data.test_pack import CARD, made


def write(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Ten pairs in two folders; packs live beside."""
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))
    for i in range(10):
        write(tmp_path / f"set/source/{i}.png", i)
        write(tmp_path / f"set/target/{i}.png", 50 + i)
    return tmp_path / "set"


def use(root, **more) -> Pack:
    return ensure("folder", root=root, settings={"height": 32, "width": 32}, **more)


class ByOthers(Dataset):
    """A reader of somebody else, who opens files with a library of its own; a third file lies beside each pair."""

    card = CARD

    @property
    def size(self):
        return (32, 32)

    def keys(self, split):
        names = sorted(path.stem for path in (self.root / "source").glob("*.png"))
        return names[:6] if split == "train" else names[6:]

    def read(self, split, key):
        a, b = (cv2.imread(str(self.root / side / f"{key}.png"), cv2.IMREAD_GRAYSCALE) for side in ("source", "target"))
        dark = self.root / f"{key}.dark"
        return PairImages(a // 2 if dark.is_file() else a, b)


class ByTheDecoder(ByOthers):
    """The same through the decoder that all shipped readers use."""

    def read(self, split, key):
        return PairImages(*(read_image(self.root / side / f"{key}.png") for side in ("source", "target")))


def check(reader, pack: Pack) -> Pack:
    return _current(reader, pack.name, pack.version, pack.path, {})


@pytest.mark.parametrize("kind", [ByOthers, ByTheDecoder])
def test_readers_of_others(root, tmp_path, kind):
    reader = kind(kind.Config(), root)
    pack = prepare(reader, "others", "1", tmp_path / "others.h5")
    assert len(pack.files()[1]) == 20
    assert check(reader, pack) == pack
    write(root / "target/3.png", 99)
    with pytest.raises(DataError, match=r"target/3\.png has another content"):
        check(reader, pack)


def test_a_new_file_counts_where_nobody_knows_what_is_read(root, tmp_path):
    others, ours = ByOthers(ByOthers.Config(), root), ByTheDecoder(ByOthers.Config(), root)
    seen = [prepare(reader, "x", "1", tmp_path / f"{i}.h5") for i, reader in enumerate((others, ours))]
    (root / "3.dark").touch()
    with pytest.raises(DataError, match=r"3\.dark is new"):
        check(others, seen[0])
    check(ours, seen[1])  # this one did not read it


@pytest.mark.parametrize("kind", [ByOthers, ByTheDecoder])
@pytest.mark.parametrize("change", [False, True])
def test_a_half_made_pack(root, tmp_path, caplog, monkeypatch, kind, change):
    """It is continued if its files are what they were, and made anew, which is told, if they are not."""
    monkeypatch.setattr(pack_writer, "_CHECKPOINT", 1)
    first = kind(kind.Config(), root)
    real, first_read = first.read, []

    def stops(split, key):
        if len(first_read) == 4:
            raise DataError("the power fails")
        first_read.append(key)
        return real(split, key)

    first.read = stops
    with pytest.raises(DataError, match="the power fails"):
        prepare(first, "x", "1", tmp_path / "x.h5", workers=1)
    if change:
        write(root / "source/0.png", 99)
    second, read = kind(kind.Config(), root), []
    reading = second.read
    second.read = lambda split, key: (read.append(key), reading(split, key))[1]
    with caplog.at_level(logging.WARNING):
        pack = prepare(second, "x", "1", tmp_path / "x.h5", workers=1)
    assert len(read) == (10 if change else 6)
    assert bool(caplog.messages) == change
    assert pack.sha256 == prepare(kind(kind.Config(), root), "x", "1", tmp_path / "fresh.h5").sha256
    assert check(second, pack) == pack
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["fresh.h5", "x.h5"]


def test_an_image_that_changes_while_it_is_read(root, tmp_path):
    class Twice(ByTheDecoder):
        def read(self, split, key):
            pair = super().read(split, "0")
            if key == "0":
                write(self.root / "source/0.png", 99)
            return pair

    with pytest.raises(DataError, match=r"source/0\.png changed while the data set was read"):
        prepare(Twice(Twice.Config(), root), "x", "1", tmp_path / "x.h5", workers=1)


def test_other_times_are_no_other_files(root, monkeypatch):
    """After a copy only the times differ: the content is compared once and the outcome remembered."""
    before = use(root)
    for path in root.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    assert use(root) == before
    monkeypatch.setattr("regbench.data.source_files.file_sha256", lambda path: pytest.fail(f"{path} was hashed again"))
    assert use(root) == before
    os.utime(root / "source/0.png")
    with pytest.raises(pytest.fail.Exception):
        use(root)


def test_files_added_and_taken_away(root):
    pack = use(root)
    for side in ("source", "target"):
        write(root / side / "new.png", 7)
    with pytest.raises(DataError, match=r"split has 'new', which is new; .*--force"):
        use(root)
    assert use(root, renew=True).counts != pack.counts
    (root / "source/new.png").unlink()
    with pytest.raises(DataError, match=r"source/new\.png is gone"):
        use(root)
    with pytest.raises(DataError, match=r"new\.png has no partner"):
        use(root, renew=True)  # it cannot be read at all


def test_force_leaves_what_is_right(root):
    """``renew`` is no reason to read everything again."""
    written = use(root).path.stat().st_mtime_ns
    assert use(root, renew=True).path.stat().st_mtime_ns == written
    assert use(root, force=True).path.stat().st_mtime_ns > written


def test_a_pack_is_there_although_it_is_stale(root):
    """So the advice is not to name the folder."""
    use(root)
    write(root / "source/0.png", 99)
    assert available("folder", settings={"height": 32, "width": 32})


def test_a_pack_without_a_list_is_told(root):
    path = use(root).path
    with h5py.File(path, "r+") as file:  # as an earlier regbench wrote it
        del file["files"], file.attrs["seal"], file.attrs["root"]
    with pytest.raises(DataError, match=r"an earlier regbench made it and kept no list of its files; .*--force"):
        use(root)
    assert Pack.open(path).files() is None


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A pack that counts as large, and how often it was hashed since it was made."""
    monkeypatch.setattr(pack_memo, "SMALL", 0)
    hashed, real = [], packs.content_hash
    monkeypatch.setattr(packs, "content_hash", lambda file: (hashed.append(file), real(file))[1])
    return made(tmp_path), hashed


def test_a_large_pack_is_hashed_once(large, tmp_path):
    pack, hashed = large
    assert Pack.open(pack.path) == pack
    assert not hashed  # it was while it was written
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copy2(pack.path, tmp_path / "elsewhere"))
    shutil.copy2(tmp_path / ".made.h5.checked.json", tmp_path / "elsewhere")
    assert [Pack.open(copy).sha256 for _ in range(3)] == [pack.sha256] * 3
    assert len(hashed) == 1
    pack.verify()
    assert len(hashed) == 2


@pytest.mark.parametrize("how", ["in place", "replaced", "time put back"])
def test_a_memory_of_another_pack_is_not_believed(large, tmp_path, how):
    pack, _ = large
    stat = pack.path.stat()
    with h5py.File(pack.path) as file:
        at = file["test/a"].id.get_offset() + 100
    content = bytearray(pack.path.read_bytes())
    content[at] ^= 1
    if how == "replaced":
        (tmp_path / "other.h5").write_bytes(content)
        (tmp_path / "other.h5").replace(pack.path)
    else:
        with pack.path.open("r+b") as file:
            file.seek(at)
            file.write(content[at : at + 1])
    if how == "time put back":
        os.utime(pack.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match=r"is damaged: its content hashes to .*--force"):
        Pack.open(pack.path)


def test_a_memory_cannot_be_written(large, monkeypatch):
    pack, hashed = large
    pack.path.with_name(".made.h5.checked.json").unlink()
    monkeypatch.setattr(pack_memo, "write_text", lambda *_: (_ for _ in ()).throw(PermissionError("read-only")))
    assert [Pack.open(pack.path).sha256 for _ in range(2)] == [pack.sha256] * 2
    assert len(hashed) == 2


def test_a_memory_is_not_made_too_early(large):
    """A change within the same tick of the clock would go unseen."""
    pack, _ = large
    memo = pack.path.with_name(".made.h5.checked.json")
    os.utime(pack.path)
    began = time.time_ns()
    Pack.open(pack.path)
    assert memo.stat().st_mtime_ns - pack.path.stat().st_ctime_ns >= 40_000_000
    assert time.time_ns() > began
