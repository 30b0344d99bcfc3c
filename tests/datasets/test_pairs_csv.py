"""A CSV of pairs is read as it was meant, or refused with its name and line."""

import os
import re
import unicodedata

import cv2
import numpy as np
import pytest

from regbench.data.packs.prepare import prepare
from regbench.errors import DataError
from regbench_datasets.folder import Folder
from regbench_datasets.pairs_csv import LABEL, read_pairs

HEADER = "source,target," + ",".join(LABEL)


@pytest.fixture
def root(tmp_path):
    """A folder with pictures 0.png ... 7.png and deep/é.JPG in decomposed form."""
    rng = np.random.default_rng(0)
    decomposed = unicodedata.normalize("NFD", "é") + ".JPG"
    (tmp_path / "deep").mkdir()
    for name in (*(f"{i}.png" for i in range(8)), f"deep/{decomposed}"):
        picture = rng.integers(0, 256, (48, 48, 3), np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode(tmp_path.joinpath(name).suffix.lower(), picture)[1].tobytes())
    return tmp_path


def reader(root, text, **settings):
    data = text if isinstance(text, bytes) else text.encode()
    (root / "pairs.csv").write_bytes(data)
    return Folder(Folder.Config(pairs="pairs.csv", height=48, width=48, **settings), root)


def refused(root, text, **settings):
    """The one line with which a CSV is refused."""
    with pytest.raises(DataError) as caught:
        reader(root, text, **settings).keys("train")
    assert "pairs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TRAIN, TEST = "0.png,1.png,train", "2.png,3.png,test"


@pytest.mark.parametrize(("rows", "message"), [
    (f"{HEADER}\n0.png,1.png,1,25,0,02,7,5,-0,01,1,1,-5,25,0,0001,0,1\n", "line 2 has 18 fields.* the header has 11"),
    (f"{HEADER}\n\n\n0.png,1.png,1,0,0,0,1,0,0,0\n", "line 4 has 10 fields, but the header has 11"),
    (f"source,target,split\n{TRAIN}\n\n{TEST},\n", "line 4 has 4 fields, but the header has 3"),
    (f'{HEADER}\n0.png,1.png,"1,25",0,0,0,1,0,0,0,1\n', r"line 2: h11 is '1,25', not a number \(write 1\.25\)"),
    (f"{HEADER}\n0.png,1.png,1,0,0,0,1_0,0,0,0,1\n", "line 2: h22 is '1_0'"),
    (f"{HEADER}\n0.png,1.png,1,0,nan,0,1,0,0,0,1\n", "line 2: h13 is 'nan'"),
    (f"{HEADER}\n0.png,1.png,1,0,,0,1,0,0,0,1\n", "line 2: h13 is ''"),
    (f"{HEADER}\n\n0.png,1.png,1,0,0,0,1,0,0,0,0\n", "line 3: .*not an invertible homography"),
])  # fmt: skip
def test_labels_that_are_not_what_they_seem(root, rows, message):
    with np.errstate(all="raise"):
        assert re.search(message, refused(root, rows, aligned=False))


@pytest.mark.parametrize(("text", "message"), [
    (f"source,target,split,split\n{TRAIN},test\n", "names the column split twice"),
    (f"source,target,splits\n{TRAIN}\n", "column 'splits'; did you mean 'split'"),
    (f"source,target,groups\n{TRAIN}\n", "did you mean 'group'"),
    ("source;target;split\n0.png;1.png;train\n", "separated by commas, not by ';'"),
    (f"source,target,split\n{TRAIN}\n4.png,absent.png,test\n", "line 3: .*absent.png is missing"),
    (f"source,target,split\n{TRAIN}\n4.png,deep,test\n", "line 3: .*deep is not a file"),
    (f"source,target,split\n{TRAIN}\ndeep\\4.png,5.png,test\n", "line 3: .* is missing; write / for"),
    (f"source,target,split\n{TRAIN}\n,5.png,test\n", "line 3: source is empty"),
    (f'source,target,split\n{TRAIN}\n"4.png,5.png,test\n', "line 3: "),
    (f"source,target,split\n{TRAIN}\n{TRAIN}\n{TEST}\n", "lines 2 and 3: .* a source may be listed once"),
    (f"source,target,split\n{TRAIN}\n./0.png,5.png,train\n{TEST}\n", "lines 2 and 3: .* a source may be listed once"),
    ("source,target\n", "lists no pairs"),
    ("", "needs the columns source and target; it has none"),
    (f"source,target,split\n{TRAIN}\nK\xf6ln.png,5.png,test\n".encode("latin-1"), "line 3: byte 0xf6 is not UTF-8"),
    (f"source,target,split\n{TRAIN}\n".encode("utf-16"), "is encoded as UTF-16; save it as UTF-8"),
    (f"source,target,split\n{TRAIN}\n4.p\0ng,5.png,test\n", "line 3: a zero byte"),
])  # fmt: skip
def test_tables_that_are_refused(root, text, message):
    assert re.search(message, refused(root, text))


@pytest.mark.parametrize("text", [
    f"\ufeffSource , TARGET,Split\r\n{TRAIN}\r\n\r\n{TEST}\r\n",
    f"source,target,split,note\n{TRAIN},a remark\n{TEST},\n",
    "source, target, split\n0.png, 1.png, train\n \n\n2.png, 3.png, test \n",
])  # fmt: skip
def test_tables_that_are_read(root, text):
    data = reader(root, text)
    assert (data.keys("train"), data.keys("test")) == (["0.png"], ["2.png"])


def test_names_in_another_form(root):
    """The table is composed and in small letters, the disk decomposed and in capitals."""
    data = reader(root, f"source,target,split\n{TRAIN}\ndeep/\u00e9.jpg,5.png,test\n")
    assert data.keys("test") == ["deep/\u00e9.jpg"]
    data.read("test", "deep/\u00e9.jpg")


@pytest.mark.parametrize("spelt", ["./0.png", "deep/../0.png", "link.png", "hard.png", "absolute"])
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("first", ["source", "target"])
def test_a_file_in_train_and_in_test(root, spelt, side, first):
    (root / "link.png").symlink_to("0.png")
    os.link(root / "0.png", root / "hard.png")
    name = str(root / "0.png") if spelt == "absolute" else spelt
    train = "0.png,1.png" if first == "source" else "1.png,0.png"
    test = f"{name},3.png" if side == "source" else f"3.png,{name}"
    told = refused(root, f"source,target,split\n{train},train\n\n{test},test\n")
    assert "lines 2 and 4" in told
    assert "are the same file, in train and in test" in told
    assert "0.png and " in told
    assert os.path.basename(name) in told


def test_a_copy_is_told_by_prepare_and_refused_by_verify(root):
    (root / "copy.png").write_bytes((root / "1.png").read_bytes())
    data = reader(root, f"source,target,split\n{TRAIN}\n2.png,copy.png,test\n")
    pack = prepare(data, "folder", "1", root / "p.h5")
    assert "B of train pair '0.png' and B of test pair '2.png' are the same image" in pack.seen
    with pytest.raises(DataError, match="the same image"):
        pack.verify()


def test_pairs_that_share_a_target_are_one_group(root):
    """Intervals resample groups: two sources laid on one target are not independent of each other."""
    text = "source,target,split\n0.png,7.png,test\n1.png,./7.png,test\n2.png,6.png,test\n4.png,5.png,train\n"
    data = reader(root, text)
    assert [data.group("test", key) for key in data.keys("test")] == ["0.png", "0.png", "2.png"]


def test_a_shared_target_without_a_split_stays_on_one_side(root):
    """The split follows from the group, so that no target falls into both."""
    rows = "".join(f"{i}.png,{'7' if i % 2 else '6'}.png\n" for i in range(6))
    (root / "pairs.csv").write_text(f"source,target\n{rows}")
    entries = read_pairs(root / "pairs.csv", aligned=True)[None]
    assert [entry.group for entry in entries] == ["0.png", "1.png"] * 3


def test_tie_points_name_their_line(root):
    (root / "points.csv").write_text("xa,ya,xb,yb\n1,2,3,4\n\n5,6,7\n")
    text = f"source,target,split,points\n{TRAIN},points.csv\n{TEST},\n"
    with pytest.raises(DataError, match=r"points\.csv line 4 has 3 fields, but the header has 4"):
        reader(root, text, aligned=False).keys("train")
    (root / "points.csv").write_text("xa,ya,xb,yb\n1,2,3,4\n5,6,7,x\n")
    with pytest.raises(DataError, match=r"points\.csv line 3: yb is 'x', not a number"):
        reader(root, text, aligned=False).keys("train")
