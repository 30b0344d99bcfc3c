"""The readers of published layouts and their command line, on images made here and, if any, on real ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.datasets import command
from regbench.data.duplicates.alike import alike
from regbench.data.packs.pack import Pack
from regbench.data.packs.prepare import ensure, prepare
from regbench.data.reading import read_image, resize
from regbench.errors import DataError, UsageError
from regbench_datasets.diml import DIML
from regbench_datasets.dlkfm import GoogleEarth, GoogleMap
from regbench_datasets.folder import Folder
from regbench_datasets.llvip import LLVIP
from regbench_datasets.mscoco import MSCOCO
from regbench_datasets.osdataset import OSdataset
from regbench_datasets.vedai import VEDAI

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def write(path, shape=(60, 60, 3), dtype=np.uint8):
    """A random image file; its content follows from its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    top = np.iinfo(dtype).max + 1
    image = np.random.default_rng([*"/".join(path.parts[-4:]).encode()]).integers(0, top, shape).astype(dtype)
    assert cv2.imwrite(str(path), image)
    return image if image.ndim == 2 else image[..., ::-1]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def osdataset(tmp_path):
    for split, numbers in (("train", (1, 2, 10)), ("test", (3,))):
        for n in numbers:
            write(tmp_path / f"os/256/{split}/opt{n}.png")
            write(tmp_path / f"os/256/{split}/sar{n}.png", (60, 60))
    return tmp_path / "os"


@pytest.fixture
def vedai(tmp_path):
    for n in range(4):
        write(tmp_path / f"vedai/Vehicules512/{n:08d}_co.png")
        write(tmp_path / f"vedai/Vehicules512/{n:08d}_ir.png", (60, 60))
    (tmp_path / "vedai/train.txt").write_text("00000002\n00000000\n00000001\n")
    (tmp_path / "vedai/test.txt").write_text("00000003\n")
    return tmp_path / "vedai"


@pytest.fixture
def packs(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))


def reader(cls, root, **settings):
    return cls(cls.Config(**settings), root)


# --- images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "shape", "dtype"), [
    ("png", (20, 30), np.uint8),
    ("png", (20, 30, 3), np.uint8),
    ("png", (20, 30), np.uint16),
    ("tif", (20, 30, 3), np.uint16),
])  # fmt: skip
def test_images_keep_depth_and_come_as_rgb(tmp_path, suffix, shape, dtype):
    image = write(tmp_path / f"i.{suffix}", shape, dtype)
    found = read_image(tmp_path / f"i.{suffix}")
    assert found.dtype == dtype
    assert np.array_equal(found, image)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_image_is_named(tmp_path, suffix):
    path = tmp_path / f"i.{suffix}"
    write(path)
    cut(path)
    with pytest.raises(DataError, match=rf"i\.{suffix} .*truncated"):
        read_image(path)


def test_images_that_are_none(tmp_path):
    (tmp_path / "i.png").write_bytes(b"")
    with pytest.raises(DataError, match="not an image"):
        read_image(tmp_path / "i.png")
    with pytest.raises(DataError, match="is missing"):
        read_image(tmp_path / "j.png")
    (tmp_path / "f.png").write_bytes(bytes(5000))
    with pytest.raises(DataError, match=r"f\.png .*not an image"):
        read_image(tmp_path / "f.png")


def test_resize_rule(tmp_path):
    image = write(tmp_path / "i.png", (90, 120, 3))
    assert resize(image, (90, 120)) is image
    linear = cv2.resize(np.ascontiguousarray(image), (60, 40), interpolation=cv2.INTER_LINEAR)
    area = cv2.resize(np.ascontiguousarray(image), (60, 40), interpolation=cv2.INTER_AREA)
    assert np.array_equal(resize(image, (40, 60)), area)
    assert np.array_equal(resize(image, (40, 60), "bilinear"), linear)
    assert resize(image.astype(np.uint16) * 257, (40, 60)).dtype == np.uint16


# --- published layouts ------------------------------------------------------------------------------------


def test_osdataset(osdataset, tmp_path):
    data = reader(OSdataset, osdataset)
    assert data.keys("train") == ["1", "2", "10"]
    pack = prepare(data, "osdataset", "1", tmp_path / "p.h5")
    assert (pack.counts, pack.channels) == ({"train": 3, "test": 1}, (3, 1))
    assert (pack.size, pack.modalities) == ((192, 192), ("optical", "sar"))
    assert reader(OSdataset, osdataset, size=64).size == (64, 64)


def test_osdataset_picks_the_larger_resolution(osdataset):
    write(osdataset / "512/train/opt7.png")
    write(osdataset / "512/train/sar7.png", (60, 60))
    assert reader(OSdataset, osdataset).keys("train") == ["7"]
    assert reader(OSdataset, osdataset, resolution=256).keys("train") == ["1", "2", "10"]


def test_osdataset_errors(osdataset, tmp_path):
    with pytest.raises(DataError, match=r"no folder 512/\. Found in .*256/.*Expected"):
        reader(OSdataset, osdataset, resolution=512).keys("train")
    with pytest.raises(DataError, match=r"(?s)no folder 512/ or 256/.*opt1\.png"):
        reader(OSdataset, tmp_path).keys("train")
    cut(osdataset / "256/train/sar2.png")
    with pytest.raises(DataError, match=r"sar2\.png.*truncated"):
        prepare(reader(OSdataset, osdataset), "os", "1", tmp_path / "p.h5")
    write(osdataset / "256/train/sar2.png", (50, 60))
    with pytest.raises(DataError, match=r"opt2\.png is 60x60, .*sar2\.png is 60x50"):
        reader(OSdataset, osdataset).read("train", "2")
    (osdataset / "256/train/sar10.png").unlink()
    with pytest.raises(DataError, match=r"opt10\.png has no partner sar10\.png"):
        reader(OSdataset, osdataset).keys("train")


def test_vedai(vedai, tmp_path):
    data = reader(VEDAI, vedai)
    assert data.keys("train") == ["00000002", "00000000", "00000001"]
    pack = prepare(data, "vedai", "1", tmp_path / "p.h5")
    assert (pack.counts, pack.channels) == ({"train": 3, "test": 1}, (3, 1))


def test_vedai_folds(vedai):
    (vedai / "train.txt").unlink()
    with pytest.raises(DataError, match=r"neither train\.txt and test\.txt nor fold02\.txt"):
        reader(VEDAI, vedai, fold=2).keys("train")
    (vedai / "Annotations512").mkdir()
    (vedai / "Annotations512/fold02.txt").write_text("00000001\n")
    (vedai / "Annotations512/fold02test.txt").write_text("00000000\n00000003\n")
    assert reader(VEDAI, vedai, fold=2).keys("train") == ["00000001"]
    assert reader(VEDAI, vedai, fold=2).keys("test") == ["00000000", "00000003"]


def test_vedai_errors(vedai, tmp_path):
    with pytest.raises(DataError, match="no folder Vehicules512/"):
        reader(VEDAI, tmp_path).keys("train")
    (vedai / "Vehicules512/00000001_ir.png").unlink()
    with pytest.raises(DataError, match=r"00000001_ir\.png is missing, although train\.txt"):
        reader(VEDAI, vedai).keys("train")


def test_mscoco(tmp_path):
    for i in range(3):
        write(tmp_path / f"train2017/{i:012d}.jpg", (48, 64, 3))
    write(tmp_path / f"test2017/{7:012d}.jpg", (64, 48, 3))
    pack = prepare(reader(MSCOCO, tmp_path, limit=2), "mscoco", "1", tmp_path / "p.h5")
    assert (pack.counts, pack.size, pack.single) == ({"train": 2, "test": 1}, (240, 320), True)
    with pytest.raises(DataError, match="no images train2017"):
        reader(MSCOCO, tmp_path / "test2017").keys("train")


# --- your own folders -------------------------------------------------------------------------------------


def test_folder_by_stem_with_a_stable_split(tmp_path):
    for i in range(20):
        write(tmp_path / f"rgb/{i}.png")
        write(tmp_path / f"ir/{i}.tif", (60, 60), np.uint16)
    settings = {"source": "rgb", "target": "ir", "height": 48, "width": 64}
    data = reader(Folder, tmp_path, **settings)
    train, test = data.keys("train"), data.keys("test")
    assert sorted([*train, *test], key=int) == [str(i) for i in range(20)]
    for i in range(20, 26):
        write(tmp_path / f"rgb/{i}.png")
        write(tmp_path / f"ir/{i}.tif", (60, 60), np.uint16)
    assert set(reader(Folder, tmp_path, **settings).keys("test")) >= set(test)
    pack = prepare(data, "folder", "1", tmp_path / "p.h5")
    assert (pack.modalities, pack.size, pack.ranges) == (("rgb", "ir"), (48, 64), ((0, 255), (0, 65535)))


@pytest.mark.parametrize("order", ["{side}/{split}", "{split}/{side}"])
def test_folder_with_named_splits(tmp_path, order):
    for split, n in (("train", 3), ("test", 2)):
        for side in ("source", "target"):
            for i in range(n):
                write(tmp_path / order.format(side=side, split=split) / f"{i}.png")
    data = reader(Folder, tmp_path)
    assert (data.keys("train"), data.keys("test")) == (["0", "1", "2"], ["0", "1"])
    data.read("test", "1")


def test_folder_errors(tmp_path):
    with pytest.raises(DataError, match="--root"):
        reader(Folder, None).keys("train")
    with pytest.raises(DataError, match=r"no folder .*source"):
        reader(Folder, tmp_path).keys("train")
    write(tmp_path / "source/1.png")
    (tmp_path / "target").mkdir()
    with pytest.raises(DataError, match=r"1\.png has no partner"):
        reader(Folder, tmp_path).keys("train")
    write(tmp_path / "target/1.jpg")
    with pytest.raises(DataError, match="test_fraction"):
        reader(Folder, tmp_path).keys("train")
    write(tmp_path / "target/1.png")
    with pytest.raises(DataError, match="share a stem"):
        reader(Folder, tmp_path).keys("train")


def labelled(tmp_path):
    """A CSV of unaligned pairs: two splits, groups, one pair without a label."""
    rows = ["source,target,split,group," + ",".join(f"h{r}{c}" for r in "123" for c in "123")]
    for i in range(5):
        write(tmp_path / f"a/{i}.png", (96, 96, 3))
        write(tmp_path / f"b/{i}.png", (48, 48))
        label = "2,0,0,0,2,0,0,0,2" if i else ",,,,,,,,"
        rows.append(f"a/{i}.png,b/{i}.png,{'test' if i > 2 else 'train'},field{i // 3},{label}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    return rows


def test_csv_with_labels(tmp_path):
    labelled(tmp_path)
    data = reader(Folder, tmp_path, pairs="pairs.csv", aligned=False, height=48, width=48, modality_b="sar")
    pack = prepare(data, "folder", "1", tmp_path / "p.h5")
    assert (pack.counts, pack.aligned, pack.modalities) == ({"train": 3, "test": 2}, False, ("A", "sar"))
    assert pack.groups("train").tolist() == [0, 0, 0]
    labels = pack.homographies("train")
    assert np.isnan(labels[0]).all()
    # The identity between images of 96 and 48 px, once A is halved: x -> 2 x + 1/2 at pixel centres.
    np.testing.assert_allclose(labels[1], [[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]], atol=1e-12)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("source,", "src,", "needs the columns source and target"),
    ("h33", "h34", "lacks h33"),
    ("train", "val", "line 2: split is 'val'"),
    ("b/4.png", "b/9.png", r"line 6: .*9\.png is missing"),
    ("field1", "field0", "group 'field0' is in train and in test"),
    ("2,0,0,0,2,0,0,0,2", "2,0,0,0,2,0,0,x,2", r"line 3: h32 is 'x'"),
])  # fmt: skip
def test_csv_errors(tmp_path, old, new, message):
    text = "\n".join(labelled(tmp_path)).replace(old, new)
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        reader(Folder, tmp_path, pairs="pairs.csv", aligned=False).keys("train")


def test_csv_labels_need_unaligned(tmp_path):
    labelled(tmp_path)
    with pytest.raises(DataError, match="aligned=false"):
        reader(Folder, tmp_path, pairs="pairs.csv").keys("train")


# --- registered, and on the command line ------------------------------------------------------------------


def test_ensure_prepares_once_and_remembers(vedai, packs, tmp_path):
    with pytest.raises(UsageError, match="--root"):
        ensure("vedai")
    pack = ensure("vedai", root=vedai, settings={"size": 64})
    stamp = pack.path.stat().st_mtime_ns
    assert ensure("vedai", root=vedai, settings={"size": 64}).path.stat().st_mtime_ns == stamp
    assert ensure("vedai", settings={"size": 64}).path == pack.path  # wherever its images were
    with pytest.raises(UsageError):
        ensure("vedai")  # other settings
    with pytest.raises(UsageError, match="did you mean 'vedai'"):
        ensure("vedei", root=vedai)
    with pytest.raises(DataError, match="not a folder"):
        ensure("vedai", root=tmp_path / "absent")


def call(*args):
    result = CliRunner().invoke(command, [str(a) for a in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_list_and_info():
    rows = {row["name"]: row for row in json.loads(call("list", "--json").output)}
    assert rows.keys() >= {"folder", "mscoco", "osdataset", "vedai", "synthetic", "llvip", "diml", "googlemap", "faid"}
    assert all(row["error"] is None for row in rows.values())
    assert rows["vedai"]["modalities"] == ["rgb", "nir"]
    assert "vedai" in call("list").output
    told = json.loads(call("info", "osdataset", "--json").output)
    assert told["settings"]["size"]["default"] == 192
    assert "opt1.png" in call("info", "osdataset").output


def test_prepare_verify_preview(osdataset, packs, tmp_path):
    found = call("prepare", "osdataset", "--root", osdataset, "--set", "size=96")
    assert "3 train, 1 test" in found.output
    told = json.loads(call("prepare", "osdataset", "--set", "dataset.size=96", "--json").output)
    pack = Pack.open(Path(told["path"]))
    assert told["sha256"] == pack.sha256
    call("verify", pack.path)
    assert json.loads(call("verify", "osdataset", "--set", "size=96", "--json").output)["counts"]["test"] == 1
    call("preview", "osdataset", "--set", "size=96", "--count", 2, "--out", tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] > 600
    with pytest.raises(UsageError, match=r"dataset\.NAME=VALUE"):
        call("prepare", "osdataset", "--set", "protocol.patch=3")
    pack.path.write_bytes(b"broken")
    call("prepare", "osdataset", "--root", osdataset, "--set", "size=96")  # makes a broken pack again
    call("verify", pack.path)


def test_stats(osdataset, packs):
    """Random pictures have nothing in common, and that is what is said."""
    told = json.loads(call("stats", "osdataset", "--root", osdataset, "--set", "size=64", "--json").output)
    assert told["splits"].keys() == {"train", "test"}
    assert told["splits"]["train"]["residual"]["pairs"] == 3
    assert told["splits"]["train"]["gap"]["edges"] < 0.4
    at64, reduced = told["splits"]["train"]["modalities"]  # nothing of 128 px in images of 64 px
    assert (at64["patch"], at64["reduce"], reduced["reduce"]) == (64, 1, 2)
    assert at64["shared"]["mim"] < 0.2
    text = call("stats", "osdataset", "--set", "size=64").output
    assert "alignment" in text
    assert f"r of value-MIMs {at64['shared']['mim']:.2f}" in text
    assert f"sar: mean {at64['b']['mean']:.2f}" in text


def test_repeated_images_on_the_command_line(osdataset, packs):
    """One line from prepare, in JSON and from stats; verify refuses; nearly the same is for stats alone."""
    source = osdataset / "256/train/opt2.png"
    (osdataset / "256/test/opt3.png").write_bytes(source.read_bytes())
    found = call("prepare", "osdataset", "--root", osdataset, "--set", "size=64")
    expected = "osdataset: optical of train pair '2' and optical of test pair '3' are the same image"
    assert found.stderr.count(f"warning: {expected}") == 1
    assert expected in json.loads(call("prepare", "osdataset", "--set", "size=64", "--json").stdout)["seen"]
    with pytest.raises(DataError, match=expected):
        call("verify", "osdataset", "--set", "size=64")
    cv2.imwrite(str(osdataset / "256/test/opt3.png"), cv2.add(cv2.imread(str(source)), 3))
    told = call("stats", "osdataset", "--root", osdataset, "--set", "size=60")
    assert "an image of test is nearly one of train" in told.output
    assert "optical of test pair '3' and of train pair '2'" in told.output
    call("verify", "osdataset", "--set", "size=60")


def test_preview_of_unaligned_pairs(tmp_path, packs):
    labelled(tmp_path)
    sets = [f"--set={s}" for s in ("pairs=pairs.csv", "aligned=false", "height=48", "width=48")]
    call("preview", "folder", "--root", tmp_path, *sets, "--out", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()


REAL = [
    (OSdataset, "OSdataset", (104, 21), (3, 1)),
    (VEDAI, "VEDAI", (94, 28), (3, 1)),
    (MSCOCO, "mscoco2017", (21, 15), (3, 3)),
    (DIML, "DIML", (135, 17), (3, 1)),
    (LLVIP, "LLVIP", (111, 30), (3, 1)),
    (GoogleMap, "GoogleMap", (355, 43), (3, 3)),
    (GoogleEarth, "GoogleEarth", (400, 80), (3, 3)),
]  # fmt: skip
needs_real = pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout (../shared/data)")


@needs_real
@pytest.mark.parametrize(("cls", "folder", "counts", "channels"), REAL)
def test_real_images(tmp_path, cls, folder, counts, channels):
    pack = prepare(reader(cls, SHARED / folder), folder, "1", tmp_path / "p.h5")
    assert pack.seen is None
    assert tuple(pack.counts.values()) == counts
    assert pack.channels == channels
    pack.verify()


@pytest.mark.slow
@needs_real
@pytest.mark.parametrize(("cls", "folder"), [real[:2] for real in REAL])
def test_real_images_are_not_accused(tmp_path, cls, folder):
    """Train and test of these sets share no scene."""
    assert not alike(prepare(reader(cls, SHARED / folder), folder, "1", tmp_path / "p.h5"), "train", "test")
