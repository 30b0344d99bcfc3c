"""Files are matched by what their names mean: Unicode form, case, numbers; what cannot be matched is said."""

import os
import unicodedata

import pytest

from regbench.data.naming import hashed_split, images_in, in_order, located, matched, natural
from regbench.errors import DataError

COMPOSED = unicodedata.normalize("NFC", "Köln_é")
DECOMPOSED = unicodedata.normalize("NFD", "Köln_é")


@pytest.fixture
def fill(tmp_path):
    """Make empty files: ``fill("a", "1.png", ...)``; returns the folder."""

    def make(folder, *names):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).touch()
        return tmp_path / folder

    return make


def names(pairs):
    return [(a.name, b.name) for a, b in pairs.values()]


def test_suffixes_in_any_case(fill):
    found = images_in(fill("a", "1.JPG", "2.jpg", "3.Tif", "4.JPEG", "note.txt", ".hidden.png", "Thumbs.db"))
    assert list(found) == ["1", "2", "3", "4"]


def test_numbers_count_wherever_they_stand():
    order = ["2", "10", "a2b", "a10a", "A10b", "seq1_vis_9", "seq1_vis_10", "seq2_vis_1", "seq10_vis_1", "x"]
    assert sorted(reversed(order), key=natural) == order


@pytest.mark.parametrize(("one", "other", "how"), [
    ("1.png", "1.PNG", "share a stem"),
    ("1.png", "1.jpg", "share a stem"),
    ("img.png", "IMG.png", "only in case"),
    (f"{COMPOSED}.png", f"{DECOMPOSED}.png", "only in Unicode form"),
])  # fmt: skip
def test_names_that_mean_the_same_are_refused(fill, one, other, how):
    folder = fill("a", one, other)
    if len(os.listdir(folder)) < 2:
        pytest.skip("this file system takes both names for one")
    with pytest.raises(DataError, match=how) as caught:
        images_in(folder)
    assert one in str(caught.value)
    assert other in str(caught.value)


def test_folders_in_two_unicode_forms(fill):
    a, b = fill("a", f"{DECOMPOSED}.png", "IMG_2.png"), fill("b", f"{COMPOSED}.JPG", "img_2.tif")
    pairs = matched(images_in(a), images_in(b))
    assert list(pairs) == ["IMG_2", COMPOSED]
    assert names(pairs) == [("IMG_2.png", "img_2.tif"), (f"{DECOMPOSED}.png", f"{COMPOSED}.JPG")]
    assert matched(images_in(b), images_in(a)).keys() == {"img_2", COMPOSED}


def test_a_file_alone_is_named(fill):
    a, b = images_in(fill("a", "1.png", "2.png")), images_in(fill("b", "1.png"))
    for sides in ((a, b), (b, a)):
        with pytest.raises(DataError, match=r"a/2\.png has no partner named 2\.\* in .*b"):
            matched(*sides)


@pytest.mark.parametrize("name", ["7.gif", "7.npy", "7.EXR", "7.heic"])
def test_images_of_another_kind_are_not_left_out_in_silence(fill, name):
    with pytest.raises(DataError, match=f"{name[1:]}") as caught:
        images_in(fill("a", "1.png", name))
    assert name in str(caught.value)
    assert list(images_in(fill("b", "7.png", name))) == ["7"]  # comes with an image


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xcd\xbc\xcf\xf1_01.png"
    try:
        open(name, "wb").close()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(DataError, match=r"\\xcf\\xf1_01\.png: this name is not UTF-8.*convmv") as caught:
        images_in(tmp_path)
    str(caught.value).encode()


def test_a_folder_that_cannot_be_listed(tmp_path):
    with pytest.raises(DataError, match=r"absent cannot be listed: No such file"):
        images_in(tmp_path / "absent")


def test_order_with_and_without_zeros(fill):
    a = images_in(fill("a", *(f"vis_{i}.png" for i in range(1, 13))))
    b = images_in(fill("b", *(f"ir_{i:02d}.png" for i in range(1, 13))))
    assert names(in_order(a, b)) == [(f"vis_{i}.png", f"ir_{i:02d}.png") for i in range(1, 13)]


def test_order_with_several_numbers_and_prefixes(fill):
    places = [(seq, frame) for seq in (1, 2, 10) for frame in (1, 9, 10, 100)]
    a = images_in(fill("a", *(f"seq{s}_cam0_{f}.png" for s, f in places)))
    b = images_in(fill("b", *(f"thermal-{s:03d}-{f:05d}.PNG" for s, f in places)))
    assert names(in_order(a, b)) == [(f"seq{s}_cam0_{f}.png", f"thermal-{s:03d}-{f:05d}.PNG") for s, f in places]


def test_order_may_be_offset(fill):
    a = images_in(fill("a", *(f"{i}.png" for i in range(3))))
    b = images_in(fill("b", *(f"t{i}.png" for i in range(1, 4))))
    assert names(in_order(a, b)) == [(f"{i}.png", f"t{i + 1}.png") for i in range(3)]
    stamps = images_in(fill("c", "t1000.png", "t1033.png", "t1066.png"))
    assert len(in_order(a, stamps)) == 3


def test_order_across_a_gap_is_refused(fill):
    """As many files on both sides, but each lacks another one: from the gap on all pairs would be wrong."""
    a = images_in(fill("a", *(f"vis_{i}.png" for i in (1, 2, 4, 5, 6))))
    b = images_in(fill("b", *(f"ir_{i}.png" for i in (1, 2, 3, 4, 5))))
    with pytest.raises(DataError, match=r"order puts .*vis_4\.png with ir_3\.png"):
        in_order(a, b)
    with pytest.raises(DataError, match=r"5 images and .*: they cannot be matched by order"):
        in_order(a, images_in(fill("c", "1.png")))


def test_a_path_written_in_another_form_is_found(fill, tmp_path):
    folder = fill(DECOMPOSED, f"{DECOMPOSED}.JPG")
    assert located(tmp_path / COMPOSED / f"{COMPOSED}.jpg").samefile(folder / f"{DECOMPOSED}.JPG")
    assert located(tmp_path / COMPOSED / "other.jpg") is None
    assert located(tmp_path / "absent" / "x.jpg") is None
    fill("both", "1.jpg", "1.JPG")
    if len(os.listdir(tmp_path / "both")) == 2:
        with pytest.raises(DataError, match=r"may mean 1\.JPG or 1\.jpg"):
            located(tmp_path / "both" / "1.Jpg")


def test_hashed_splits_hold_for_good():
    """Splits of published results: a change of the hash would move images from test to train."""
    assert [g for g in map(str, range(30)) if hashed_split(g, 0.2) == "test"] == ["8", "9"]
