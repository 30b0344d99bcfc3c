"""The readers of published layouts, on files written here in each layout; what does not fit is one clear line."""

import shutil

import cv2
import numpy as np
import pytest

from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import ensure, prepare
from regbench.errors import DataError, UsageError
from regbench.plugins.registry import registry
from regbench_datasets.diml import DIML
from regbench_datasets.dpdn import DPDN
from regbench_datasets.faid import FAID
from regbench_datasets.folder import Folder
from regbench_datasets.llvip import LLVIP
from regbench_datasets.mscoco import MSCOCO
from regbench_datasets.nirscene import NIRScene
from regbench_datasets.osdataset import OSdataset
from regbench_datasets.vedai import VEDAI
from tests.datasets.layouts import (
    LAYOUTS,
    diml,
    dpdn,
    faid,
    files,
    llvip,
    nirscene,
    osdataset,
    read_all,
    reader,
    vedai,
    write,
)

each_layout = pytest.mark.parametrize("cls", LAYOUTS, ids=lambda c: c.__name__)


@each_layout
def test_layout_is_packed(cls, tmp_path):
    make, counts, size, channels = LAYOUTS[cls]
    make(tmp_path / "root")
    pack = prepare(reader(cls, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    assert tuple(pack.counts.values()) == counts
    assert (pack.size, pack.channels) == (size, channels)
    pack.verify()


@each_layout
def test_missing_partner_is_named(cls, tmp_path):
    """Whatever file is taken away, the message names it or the partner left alone."""
    make = LAYOUTS[cls][0]
    make(tmp_path)
    needed = [p for p in files(tmp_path) if "original" not in p.parent.name]
    for path in needed[:: max(1, len(needed) // 5)]:
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError) as caught:
            read_all(reader(cls, tmp_path))
        stem = path.stem.removesuffix("_label").removesuffix("_c").removesuffix("_depth_filled")
        assert stem in str(caught.value), (path, str(caught.value))
        path.write_bytes(kept)


@each_layout
def test_truncated_file_is_named_and_leaves_no_pack(cls, tmp_path):
    LAYOUTS[cls][0](tmp_path / "root")
    victim = next(p for p in files(tmp_path / "root") if p.suffix in (".jpg", ".png") and "orig" not in str(p))
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(DataError, match="truncated") as caught:
        prepare(reader(cls, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    assert victim.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize(("cls", "make", "sides"), [
    (LLVIP, llvip, ("visible", "infrared")),
    (DPDN, dpdn, ("train/rgb", "train/depth")),
    (DIML, diml, ("train/HR/01. Cafe/color", "train/HR/01. Cafe/depth_filled")),
])  # fmt: skip
def test_swapped_folders_are_seen(cls, make, sides, tmp_path):
    make(tmp_path / "root")
    a, b = (tmp_path / "root" / side for side in sides)
    a.rename(tmp_path / "aside")
    b.rename(a)
    (tmp_path / "aside").rename(b)
    with pytest.raises(DataError, match="swapped"):
        prepare(reader(cls, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    assert not (tmp_path / "p.h5").exists()


@pytest.mark.parametrize(("cls", "make", "pair"), [
    (OSdataset, osdataset, ("256/train/opt1.png", "256/train/sar1.png")),
    (VEDAI, vedai, ("Vehicules512/00000000_co.png", "Vehicules512/00000000_ir.png")),
])  # fmt: skip
def test_swapped_pictures_are_seen(cls, make, pair, tmp_path):
    make(tmp_path / "root")
    a, b = (tmp_path / "root" / side for side in pair)
    shutil.copy(a, b)
    with pytest.raises(DataError, match=r"must be grey.*swapped"):
        prepare(reader(cls, tmp_path / "root"), "x", "1", tmp_path / "p.h5")


# --- one by one


def test_llvip_leaves_two_locations_out(tmp_path):
    llvip(tmp_path)
    assert reader(LLVIP, tmp_path).keys("train") == ["010001", "010002"]
    assert reader(LLVIP, tmp_path).keys("test") == ["190001"]
    assert reader(LLVIP, tmp_path, exclude=()).keys("test") == ["190001", "260003"]
    with pytest.raises(DataError, match=r"the test split has no images outside of the locations \(19, 26\)"):
        reader(LLVIP, tmp_path, exclude=(19, 26)).keys("test")
    for side in ("visible", "infrared"):
        write(tmp_path / side / "test/person.jpg", (64, 80))
    with pytest.raises(DataError, match="not six digits"):
        reader(LLVIP, tmp_path).keys("test")


def test_llvip_sizes_must_agree(tmp_path):
    llvip(tmp_path)
    write(tmp_path / "infrared/train/010002.jpg", (60, 80))
    with pytest.raises(DataError, match=r"visible/train/010002\.jpg is 80x64, .*infrared/train/010002\.jpg is 80x60"):
        prepare(reader(LLVIP, tmp_path), "x", "1", tmp_path / "p.h5")


def test_diml_depth_keeps_sixteen_bits(tmp_path):
    diml(tmp_path)
    data = reader(DIML, tmp_path, far=20000, size=60)
    assert data.keys("test") == ["01. Room/0007", "01. Room/0008"]
    pack = prepare(data, "x", "1", tmp_path / "p.h5")
    assert pack.ranges == ((0, 255), (0, 20000))
    stored = cv2.imread(str(tmp_path / "test/HR/01. Room/depth_filled/0007_depth_filled.png"), cv2.IMREAD_UNCHANGED)
    depth = pack.images("test", "b")[0, 0].numpy()
    np.testing.assert_allclose(depth, np.minimum(stored / 20000, 1), atol=1e-6)


def test_splits_by_hash_are_complete_and_stable(tmp_path):
    nirscene(tmp_path / "nir")
    faid(tmp_path / "faid")
    for cls, root, total in ((NIRScene, "nir", 12), (FAID, "faid", 12)):
        train, test = (reader(cls, tmp_path / root, test_fraction=0.4).keys(s) for s in ("train", "test"))
        assert len(train) + len(test) == total
        assert not set(train) & set(test)
        assert train
        assert test
    (tmp_path / "nir/water/0003_nir.tiff").unlink()
    with pytest.raises(DataError, match=r"0003_rgb\.tiff has no partner"):
        reader(NIRScene, tmp_path / "nir").keys("train")
    (tmp_path / "faid/People/People_004_flash.png").unlink()
    with pytest.raises(DataError, match=r"People_004_ambient\.png has no partner People_004_flash\.png"):
        reader(FAID, tmp_path / "faid").keys("train")


def test_pictures_of_nirscene_and_faid(tmp_path):
    nirscene(tmp_path / "nir")
    faid(tmp_path / "faid")
    pack = prepare(reader(NIRScene, tmp_path / "nir"), "x", "1", tmp_path / "n.h5")
    assert (pack.size, pack.channels) == ((256, 256), (3, 1))
    pack = prepare(reader(FAID, tmp_path / "faid"), "x", "1", tmp_path / "f.h5")
    assert (pack.size, pack.modalities) == ((213, 320), ("flash", "ambient"))


@pytest.mark.parametrize("dash", ["", "_"])
def test_folders_of_sshnet_and_scpnet(tmp_path, dash):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            write(tmp_path / f"{split}{dash}A/{i}.jpg")
            write(tmp_path / f"{split}{dash}B/{i}.jpg")
    data = reader(Folder, tmp_path)
    assert (data.keys("train"), data.keys("test")) == (["0", "1", "2"], ["0", "1"])
    (tmp_path / f"train{dash}B/2.jpg").rename(tmp_path / f"train{dash}B/other.jpg")
    with pytest.raises(DataError, match=r"2\.jpg has no partner"):
        reader(Folder, tmp_path).keys("train")
    by_order = reader(Folder, tmp_path, match="order")
    assert by_order.keys("train") == ["0", "1", "2"]
    by_order.read("train", "2")
    (tmp_path / f"train{dash}B/other.jpg").unlink()
    with pytest.raises(DataError, match=r"3 images and .* 2: they cannot be matched by order"):
        reader(Folder, tmp_path, match="order").keys("train")


def test_a_pack_can_be_named_directly(tmp_path):
    dpdn(tmp_path / "root")
    path = prepare(reader(DPDN, tmp_path / "root"), "dpdn", "1", tmp_path / "p.h5").path
    assert ensure(str(path)).sha256 == Pack.open(path).sha256
    with pytest.raises(UsageError, match="finished pack: --root"):
        ensure(str(path), root=tmp_path)
    with pytest.raises(UsageError, match=r"finished pack: --set dataset\.size"):
        ensure(str(path), settings={"size": 3})
    with pytest.raises(DataError, match="no pack at"):
        ensure(str(tmp_path / "absent.h5"))


def test_pdscoco_crops_and_distorts(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"{split}2017/{1:012d}.jpg", (100, 300, 3))
    component = registry().get("dataset", "pdscoco")
    pack = prepare(reader(MSCOCO, tmp_path, **component.config), "pdscoco", "1", tmp_path / "p.h5")
    assert pack.distortion == "pds"
    whole = cv2.imread(str(tmp_path / f"test2017/{1:012d}.jpg"))[..., ::-1]
    left = (300 - 133) // 2
    expected = cv2.resize(np.ascontiguousarray(whole[:, left : left + 133]), (320, 240))
    found = pack.images("test", "a")[0].permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - expected).max() <= 1
    plain = prepare(reader(MSCOCO, tmp_path, fit="crop"), "mscoco", "1", tmp_path / "q.h5")
    assert plain.sha256 != pack.sha256


def test_a_copy_between_the_splits_is_found_in_every_layout(tmp_path):
    llvip(tmp_path)
    shutil.copy(tmp_path / "infrared/train/010002.jpg", tmp_path / "infrared/test/190001.jpg")
    pack = prepare(reader(LLVIP, tmp_path), "llvip", "1", tmp_path / "p.h5")
    assert "infrared of train pair '010002' and infrared of test pair '190001' are the same image" in pack.seen
    with pytest.raises(DataError, match="the same image"):
        pack.verify()


def test_intervals_resample_scenes_and_cameras(tmp_path):
    llvip(tmp_path / "llvip")
    for number in ("190002", "200001", "200002"):
        write(tmp_path / f"llvip/visible/test/{number}.jpg", (64, 80, 3))
        write(tmp_path / f"llvip/infrared/test/{number}.jpg", (64, 80))
    pack = prepare(reader(LLVIP, tmp_path / "llvip"), "llvip", "1", tmp_path / "l.h5")
    assert dict(zip(pack.keys("test"), pack.groups("test").tolist(), strict=True)) == {
        "190001": 0, "190002": 0, "200001": 1, "200002": 1,
    }  # fmt: skip
    diml(tmp_path / "diml")
    pack = prepare(reader(DIML, tmp_path / "diml"), "diml", "1", tmp_path / "d.h5")
    assert pack.groups("train").tolist() == [0, 0, 1, 1]
    assert pack.groups("test").tolist() == [0, 0]


@pytest.mark.parametrize("cls", [VEDAI, DIML])
def test_cards_claim_no_size_of_the_paper(cls):
    assert "as CoLReg" not in cls.card.size_rule
    assert "our choice" in cls.card.size_rule
