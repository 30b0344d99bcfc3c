"""The readers of published layouts, on files written here in each layout; what does not fit is one clear line."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from regbench import geometry
from regbench.data.manifest import test_manifest as make_manifest
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import ensure, prepare
from regbench.data.pairs import given_pairs
from regbench.data.protocol import Protocol
from regbench.errors import DataError, UsageError
from regbench.plugins.registry import registry
from regbench_datasets.diml import DIML
from regbench_datasets.dlkfm import GoogleEarth, GoogleMap
from regbench_datasets.dpdn import DPDN
from regbench_datasets.faid import FAID
from regbench_datasets.folder import Folder
from regbench_datasets.llvip import LLVIP
from regbench_datasets.mscoco import MSCOCO
from regbench_datasets.nirscene import NIRScene
from regbench_datasets.osdataset import OSdataset
from regbench_datasets.vedai import VEDAI


def write(path, shape=(60, 60, 3), dtype=np.uint8):
    """A smooth random picture whose content follows from its path; 16-bit where asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*"/".join(path.parts[-4:]).encode()])
    image = cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 2)
    image = (image - image.min()) / (image.max() - image.min()) * np.iinfo(dtype).max
    assert cv2.imwrite(str(path), image.astype(dtype))


def reader(cls, root, **settings):
    return cls(cls.Config(**settings), root)


def llvip(root):
    for split, names in (("train", ("010001", "010002", "250001")), ("test", ("190001", "260003"))):
        for name in names:
            write(root / f"visible/{split}/{name}.jpg", (64, 80, 3))
            write(root / f"infrared/{split}/{name}.jpg", (64, 80))


def diml(root):
    for split, scenes in (("train", ("01. Cafe", "02. Hall")), ("test", ("01. Room",))):
        for scene in scenes:
            for name in ("0007", "0008"):
                write(root / f"{split}/HR/{scene}/color/{name}_c.png")
                write(root / f"{split}/HR/{scene}/depth_filled/{name}_depth_filled.png", (60, 60), np.uint16)


def nirscene(root):
    for category in ("country", "water"):
        for i in range(6):
            write(root / f"{category}/{i:04d}_rgb.tiff", (60, 90, 3))
            write(root / f"{category}/{i:04d}_nir.tiff", (60, 90))


def faid(root):
    for i in range(12):
        for kind in ("flash", "ambient"):
            write(root / f"People/People_{i:03d}_{kind}.png")


def dpdn(root):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            write(root / f"{split}/rgb/{i}.jpg")
            write(root / f"{split}/depth/{i}.jpg", (60, 60))


def osdataset(root):
    for split in ("train", "test"):
        write(root / f"256/{split}/opt1.png")
        write(root / f"256/{split}/sar1.png", (60, 60))


def vedai(root):
    for i, split in enumerate(("train", "test")):
        write(root / f"Vehicules512/{i:08d}_co.png")
        write(root / f"Vehicules512/{i:08d}_ir.png", (60, 60))
        (root / f"{split}.txt").write_text(f"{i:08d}\n")


def mscoco(root):
    for split, n in (("train", 3), ("test", 2)):
        for i in range(n):
            write(root / f"{split}2017/{i:012d}.jpg")


def dlkfm(root, corners=((40, 30), (150, 44), (25, 170), (160, 160)), original=True):
    """Input pictures, templates made of them by the label, and the whole picture as template_original."""
    offsets = torch.tensor(corners, dtype=torch.float64) - geometry.corners((128, 128), dtype=torch.float64)
    homography = geometry.homography_from_displacement(offsets, (128, 128))
    for folder, names in (("train2014", ("0_4", "1_4", "0_5")), ("val2014", ("0", "1"))):
        for name in names:
            write(root / f"{folder}_input/{name}.jpg", (192, 192, 3))
            picture = cv2.imread(str(root / f"{folder}_input/{name}.jpg"))
            for kind in ("template", "label", "template_original"):
                (root / f"{folder}_{kind}").mkdir(exist_ok=True)
            # template(p) = input(H p)
            template = cv2.warpPerspective(
                picture, homography.numpy(), (128, 128), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )
            cv2.imwrite(str(root / f"{folder}_template/{name}.jpg"), template, [cv2.IMWRITE_JPEG_QUALITY, 98])
            if original:
                cv2.imwrite(str(root / f"{folder}_template_original/{name}.jpg"), picture)
            names_of = ("top_left", "top_right", "bottom_left", "bottom_right")
            told = [{f"{n}_u": u, f"{n}_v": v} for n, (u, v) in zip(names_of, corners, strict=True)]
            (root / f"{folder}_label/{name}_label.txt").write_text(json.dumps({"location": told}))


LAYOUTS = {
    DIML: (diml, (4, 2), (192, 192), (3, 1)),
    DPDN: (dpdn, (3, 2), (192, 192), (3, 1)),
    GoogleEarth: (dlkfm, (3, 2), (192, 192), (3, 3)),
    GoogleMap: (dlkfm, (3, 2), (192, 192), (3, 3)),
    LLVIP: (llvip, (2, 1), (192, 240), (3, 1)),
}
each_layout = pytest.mark.parametrize("cls", LAYOUTS, ids=lambda c: c.__name__)


@each_layout
def test_layout_is_packed(cls, tmp_path):
    make, counts, size, channels = LAYOUTS[cls]
    make(tmp_path / "root")
    pack = prepare(reader(cls, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    assert tuple(pack.counts.values()) == counts
    assert (pack.size, pack.channels) == (size, channels)
    pack.verify()


def read_all(dataset):
    for split in ("train", "test"):
        for key in dataset.keys(split):
            dataset.read(split, key)


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


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


# --- DLKFM's labels


def laid(a, b, homography):
    """Mean absolute difference of A laid on B and B, where A's central 128 px are seen, 0..255."""
    mask = torch.zeros(1, 1, 192, 192, dtype=torch.float64)
    mask[..., 34:158, 34:158] = 1
    seen = geometry.warp(mask, homography)[0, 0] > 0.999
    moved = geometry.warp(a[None].double(), homography)[0]
    assert seen.float().mean() > 0.1
    return float((moved - b.double()).abs()[:, seen].mean())


def test_stored_label_puts_the_template_on_the_input(tmp_path):
    dlkfm(tmp_path / "root")
    pack = prepare(reader(GoogleMap, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    template, picture = pack.images("test", "a")[0], pack.images("test", "b")[0]
    label = torch.from_numpy(pack.homographies("test")[:1])
    right = laid(template, picture, label)
    assert right < 4
    assert right < laid(template, picture, geometry.invert(label)) / 3
    assert right < laid(template, picture, torch.eye(3, dtype=torch.float64)[None]) / 3


def test_labels_are_the_published_offsets(tmp_path):
    """Template's corners (32, 32) ... (159, 159) move by label - corner; the other direction is the inverse."""
    corners = ((40, 30), (150, 44), (25, 170), (160, 160))
    dlkfm(tmp_path / "root", corners)
    pack = prepare(reader(GoogleEarth, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    forward = given_pairs(pack, "test", Protocol(pairing="given"), labelled=True)
    home = torch.tensor([[32, 32], [159, 32], [32, 159], [159, 159]])
    assert torch.allclose(forward.displacement[0], (torch.tensor(corners) - home).float(), atol=1e-4)
    backward = given_pairs(pack, "test", Protocol(pairing="given", source="B"), labelled=True)
    both = [geometry.homography_from_displacement(d.displacement.double(), (128, 128)) for d in (forward, backward)]
    assert torch.allclose(geometry.compose(*both), torch.eye(3, dtype=torch.float64), atol=1e-5)
    a = pack.images("test", "a")[0]
    stored = cv2.imread(str(tmp_path / "root/val2014_template/0.jpg"))[..., ::-1].copy()
    assert torch.equal(a[:, 32:160, 32:160], torch.from_numpy(stored).permute(2, 0, 1))


def test_aligned_originals(tmp_path):
    dlkfm(tmp_path / "root")
    data = reader(GoogleMap, tmp_path / "root", pairs="original")
    pack = prepare(data, "x", "1", tmp_path / "p.h5")
    assert pack.aligned
    assert pack.max_patch is None
    assert (pack.images("test", "a").int() - pack.images("test", "b").int()).abs().float().mean() < 5
    dlkfm(tmp_path / "bare", original=False)
    shutil.rmtree(tmp_path / "bare/val2014_template_original")
    with pytest.raises(DataError, match="no folder val2014_template_original/"):
        reader(GoogleMap, tmp_path / "bare", pairs="original").keys("test")


def test_windows_stay_inside_the_template(tmp_path):
    dlkfm(tmp_path / "root")
    pack = prepare(reader(GoogleEarth, tmp_path / "root"), "x", "1", tmp_path / "p.h5")
    with pytest.raises(UsageError, match=r"central 128 px.*protocol\.patch=128"):
        make_manifest(pack, Protocol(patch=160, pairing="given"))
    assert len(make_manifest(pack, Protocol(patch=64, rho=16, pairing="given")).draws) == 2


def test_training_windows_share_their_image(tmp_path):
    dlkfm(tmp_path / "root")
    data = reader(GoogleEarth, tmp_path / "root")
    assert {data.group("train", key) for key in data.keys("train")} == {"4", "5"}


@pytest.mark.parametrize(("text", "message"), [
    ('{"location": [{"top_left_u": 39', "truncated or no DLKFM label"),
    ("[]", "no DLKFM label"),
    ('{"location": [{"top_left_u": 39, "top_left_v": 28}]}', "no DLKFM label"),
    (
        '{"location": [{"top_left_u": 150, "top_left_v": 150}, {"top_right_u": 150, "top_right_v": 30}, '
        '{"bottom_left_u": 30, "bottom_left_v": 150}, {"bottom_right_u": 150, "bottom_right_v": 149}]}',
        "convex",
    ),
])  # fmt: skip
def test_broken_labels(tmp_path, text, message):
    dlkfm(tmp_path)
    (tmp_path / "val2014_label/1_label.txt").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        reader(GoogleEarth, tmp_path).read("test", "1")
    assert "1_label.txt" in str(caught.value)


def test_wrong_size_is_said(tmp_path):
    dlkfm(tmp_path)
    write(tmp_path / "val2014_template/1.jpg", (120, 128, 3))
    with pytest.raises(DataError, match=r"val2014_template/1\.jpg is 128x120, expected 128x128"):
        reader(GoogleEarth, tmp_path).read("test", "1")


# --- packs and PDS-COCO


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


# --- names and groups


EVERY = {**{cls: make for cls, (make, *_) in LAYOUTS.items()}, NIRScene: nirscene, FAID: faid, OSdataset: osdataset}
EVERY |= {VEDAI: vedai, MSCOCO: mscoco}
each_reader = pytest.mark.parametrize("cls", EVERY, ids=lambda c: c.__name__)


def contents(cls, root, path):
    """Keys by split and the hash of the pack."""
    data = reader(cls, root)
    keys = {split: data.keys(split) for split in ("train", "test")}
    return keys, prepare(data, "x", "1", path).sha256


@each_reader
def test_upper_case_suffixes_change_nothing(cls, tmp_path):
    EVERY[cls](tmp_path / "root")
    before = contents(cls, tmp_path / "root", tmp_path / "p.h5")
    for path in files(tmp_path / "root")[::2]:
        if path.suffix != ".txt":
            path.rename(path.with_name(path.stem + path.suffix.upper()))
    assert contents(cls, tmp_path / "root", tmp_path / "q.h5") == before


@each_reader
def test_the_same_image_under_two_suffixes_is_refused(cls, tmp_path):
    EVERY[cls](tmp_path)
    path = next(path for path in files(tmp_path) if path.suffix != ".txt" and "original" not in str(path))
    write(path.with_suffix(".bmp"))
    with pytest.raises(DataError, match="share a stem") as caught:
        read_all(reader(cls, tmp_path))
    assert path.name in str(caught.value)
    assert path.with_suffix(".bmp").name in str(caught.value)


@each_reader
def test_an_image_of_a_kind_that_is_not_read_is_told(cls, tmp_path):
    EVERY[cls](tmp_path)
    path = next(path for path in files(tmp_path) if path.suffix != ".txt" and "original" not in str(path))
    path.with_name("extra_1.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"extra_1\.gif is an image of a kind that is not read"):
        read_all(reader(cls, tmp_path))


@pytest.mark.parametrize(("cls", "make", "name"), [
    (OSdataset, osdataset, "256/train/pair3.png"),
    (NIRScene, nirscene, "water/0007_thumb.png"),
    (FAID, faid, "People/People_003_both.png"),
    (LLVIP, llvip, "visible/train/teaser.png"),
    (DIML, diml, "train/HR/01. Cafe/color/0009.png"),
])  # fmt: skip
def test_a_name_that_fits_no_pattern_is_told(cls, make, name, tmp_path):
    make(tmp_path)
    write(tmp_path / name)
    with pytest.raises(DataError, match=name.rpartition("/")[2].partition(".")[0]):
        read_all(reader(cls, tmp_path))


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


def test_windows_of_the_17_scenes_of_googleearth(tmp_path):
    """The publisher's generator names test windows <350..399>_<scene>."""
    data = reader(GoogleEarth, tmp_path)
    assert data.group("test", "350_paris_3") == data.group("test", "399_paris_3") == "paris_3"
    assert data.group("test", "17") == "17"
    assert "17 scenes" in GoogleEarth.card.defects


@pytest.mark.parametrize("cls", [VEDAI, DIML])
def test_cards_claim_no_size_of_the_paper(cls):
    assert "as CoLReg" not in cls.card.size_rule
    assert "our choice" in cls.card.size_rule


# --- lists and labels


@pytest.mark.parametrize(("train", "test", "message"), [
    ("00000000\n\n00000000\n", "00000001\n", "train.txt line 3 lists 00000000 again, after line 1"),
    ("00000000\n", "\n00000000\n", "train.txt line 1 and .*test.txt line 2 list the same id 00000000"),
    ("00000000\n00000009\n", "00000001\n", "00000009_co.png is missing, although train.txt line 2 lists 00000009"),
    ("00000000\n0000001,\n", "00000001\n", "train.txt line 2 lists '0000001,', which is not an id"),
    ("00000000\n\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661\n", "00000001\n", "train.txt line 2 lists"),
    ("\n", "00000001\n", "train.txt lists no ids"),
])  # fmt: skip
def test_lists_of_vedai_that_are_refused(train, test, message, tmp_path):
    vedai(tmp_path)
    (tmp_path / "train.txt").write_text(train, encoding="utf-8")
    (tmp_path / "test.txt").write_text(test, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        reader(VEDAI, tmp_path).keys("train")


def test_encodings_of_lists_and_labels(tmp_path):
    vedai(tmp_path / "vedai")
    (tmp_path / "vedai/train.txt").write_bytes(b"\xef\xbb\xbf00000000\r\n")
    assert reader(VEDAI, tmp_path / "vedai").keys("train") == ["00000000"]
    (tmp_path / "vedai/train.txt").write_text("00000000\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"train\.txt is encoded as UTF-16"):
        reader(VEDAI, tmp_path / "vedai").keys("train")
    dlkfm(tmp_path / "map")
    label = tmp_path / "map/val2014_label/1_label.txt"
    label.write_bytes(b"\xef\xbb\xbf" + label.read_bytes())
    reader(GoogleEarth, tmp_path / "map").read("test", "1")
    label.write_bytes(label.read_bytes() + b"\n\xe4")
    with pytest.raises(DataError, match=r"1_label\.txt line 2: byte 0xe4 is not UTF-8"):
        reader(GoogleEarth, tmp_path / "map").read("test", "1")


@pytest.mark.parametrize(("old", "new", "message"), [
    ('"top_left_u": 40', '"top_left_u": "40"', "top_left_u is '40', not a number"),
    ('"top_left_u": 40', '"top_left_u": NaN', "not a finite number"),
    ('"top_left_u": 40', '"top_left_u": 1, "top_left_u": 40', "top_left_u is there twice"),
    ('"top_right_u"', '"top_left_u"', "top_left_u is there twice"),
    ('"top_left_u": 40', '"top_left_u": 40,5', "truncated or no DLKFM label"),
])  # fmt: skip
def test_labels_that_are_not_what_they_seem(old, new, message, tmp_path):
    dlkfm(tmp_path)
    path = tmp_path / "val2014_label/1_label.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        reader(GoogleEarth, tmp_path).read("test", "1")
    assert "1_label.txt" in str(caught.value)
