"""Images that stay in the pack give the same batches as images that live on the device."""

import dataclasses
import os

import h5py
import numpy as np
import pytest
import torch

from regbench.data.images import ENV_RESIDENT_MB, Resident, Streamed, load, memory_for_images, resident_bytes
from regbench.data.packs.pack import Pack
from regbench.data.protocol import Protocol
from regbench.data.sampler import PREFETCH_STEPS, PairSampler
from regbench.errors import DataError, UsageError

VIEWS = ("pair", "self_source", "self_target", "unpaired")
SMALL = Protocol(patch=32, rho=8)


@pytest.fixture(scope="module")
def pack(make_pack):
    """Colour and 16-bit grey, 12 pairs."""
    rng = np.random.default_rng(0)
    colour = [rng.integers(0, 256, (56, 64, 3)).astype(np.uint8) for _ in range(12)]
    depth = [rng.integers(0, 65536, (56, 64)).astype(np.uint16) for _ in range(12)]
    return make_pack(colour, depth)


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setenv(ENV_RESIDENT_MB, "0")


def tensors(batch):
    return {
        f"{name}.{f.name}": getattr(view, f.name)
        for name, view in batch.views.items()
        for f in dataclasses.fields(view)
        if getattr(view, f.name) is not None
    }


@pytest.mark.parametrize("pairing", ["frozen", "online"])
def test_streamed_batches_are_the_resident_ones(pack, pairing, monkeypatch):
    protocol = SMALL.model_copy(update={"pairing": pairing})
    resident = PairSampler(pack, protocol, seed=1, labels=True)
    monkeypatch.setenv(ENV_RESIDENT_MB, "0")
    streamed = PairSampler(pack, protocol, seed=1, labels=True)
    assert isinstance(resident._source, Resident)
    assert isinstance(streamed._source, Streamed)
    for stage, step in (("s", 0), ("s", 1), ("s", 2), ("t", 0), ("s", 9), ("s", 1)):
        a, b = (tensors(sampler.batch(stage, step, 5, VIEWS)) for sampler in (resident, streamed))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a), (stage, step)


def test_coming_steps_are_announced_once_and_are_those_taken(pack, streamed, monkeypatch):
    announced, taken = [], []
    prefetch, take = Streamed.prefetch, Streamed.take
    monkeypatch.setattr(
        Streamed, "prefetch", lambda self, index: (announced.append((self, index)), prefetch(self, index))
    )
    monkeypatch.setattr(Streamed, "take", lambda self, index: (taken.append((self, index)), take(self, index))[1])
    sampler = PairSampler(pack, SMALL, seed=0)
    for step in range(5):
        sampler.batch("s", step, 4, ("pair", "unpaired"))
    coming = taken[4:]  # of step 0 nothing was known; a step takes pairs and unpaired images of both sides
    assert len(announced) == len(coming) + 4 * PREFETCH_STEPS
    for side, index in coming:
        assert sum(side is other and torch.equal(index, said) for other, said in announced) == 1


def test_the_system_is_asked_for_the_very_bytes(pack, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: asked.append((start, length, advice)))
    Streamed(pack, "train", "a").prefetch(torch.tensor([2, 0]))
    with h5py.File(pack.path) as file:
        first = file["train/a"].id.get_offset()
    row = 56 * 64 * 3
    assert asked == [(first + 2 * row, row, os.POSIX_FADV_WILLNEED), (first, row, os.POSIX_FADV_WILLNEED)]


def test_take_gives_rows_in_the_order_asked(pack):
    index = torch.tensor([7, 0, 7, 11])
    for side in ("a", "b"):
        whole = pack.images("test", side)
        assert torch.equal(Streamed(pack, "test", side).take(index), whole[index])
    with pytest.raises(IndexError):
        Streamed(pack, "test", "a").take(torch.tensor([12]))


def test_single_images_are_held_once(make_pack, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)
    pack = make_pack([image, image], [image, image])
    single = dataclasses.replace(pack, single=True)
    a, b = load(single, "train", ("a", "b"))
    assert a is b
    assert resident_bytes(pack, "train", ("a", "b")) == 2 * 2 * 50 * 50


def test_deep_images_count_as_floats(pack):
    assert resident_bytes(pack, "train", ("a",)) == 12 * 56 * 64 * 3
    assert resident_bytes(pack, "train", ("b",)) == 12 * 56 * 64 * 4


def test_memory(monkeypatch):
    assert 0 < memory_for_images("cpu") <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    monkeypatch.setenv(ENV_RESIDENT_MB, "3")
    assert memory_for_images("cpu") == 3 * 2**20
    monkeypatch.setenv(ENV_RESIDENT_MB, "3GB")
    with pytest.raises(UsageError, match="REGBENCH_RESIDENT_MB='3GB'"):
        memory_for_images("cpu")


def test_a_pack_cut_off_below_its_images_is_named(pack, tmp_path):
    path = tmp_path / "cut.h5"
    path.write_bytes(pack.path.read_bytes())
    images = Streamed(Pack.open(path), "test", "b")
    with path.open("r+b") as file:
        file.truncate(images._offset + 10)
    with pytest.raises(DataError, match=r"cut\.h5 is truncated: image 3"):
        images.take(torch.tensor([3]))


def test_a_compressed_pack_cannot_be_streamed(pack, tmp_path):
    with h5py.File(pack.path) as old, h5py.File(tmp_path / "z.h5", "w") as new:
        for split in ("train", "test"):
            for side in ("a", "b"):
                new.create_dataset(f"{split}/{side}", data=old[split][side][...], compression="gzip")
    stat = (tmp_path / "z.h5").stat()
    compressed = dataclasses.replace(pack, path=tmp_path / "z.h5", state=(stat.st_ino, stat.st_size, stat.st_mtime_ns))
    with pytest.raises(DataError, match="compressed"):
        Streamed(compressed, "train", "a")
