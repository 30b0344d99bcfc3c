"""Names and lists of files, in every layout: suffixes, doubles, strangers, ids, encodings."""

import pytest

from regbench.data.packs.prepare import prepare
from regbench.errors import DataError
from regbench_datasets.diml import DIML
from regbench_datasets.dlkfm import GoogleEarth
from regbench_datasets.faid import FAID
from regbench_datasets.llvip import LLVIP
from regbench_datasets.nirscene import NIRScene
from regbench_datasets.osdataset import OSdataset
from regbench_datasets.vedai import VEDAI
from tests.datasets.layouts import (
    EVERY,
    diml,
    dlkfm,
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
