"""Cases of data sets in folders: names, splits, decoding, packs."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from tests.cases.conftest import correlation, one_line, pairs_of

SMALL = ("--set", "width=160", "--set", "height=120")


def test_coco_uppercase(case, inline):
    case("coco-uppercase")
    done = inline("datasets", "prepare", "mscoco", "--root", ".", "--json")
    assert done.code == 1 or done.json["counts"]["train"] == 4, done.out


def test_googlemap_uppercase(case, inline):
    case("googlemap-uppercase")
    done = inline("datasets", "prepare", "googlemap", "--root", ".")
    assert done.code == 0, done.err


def test_decimal_comma_labels(case, inline):
    case("decimal-comma-labels")
    done = inline(
        "datasets", "prepare", "folder", "--root", ".", "--set", "pairs=labels.csv", "--set", "aligned=false", *SMALL
    )
    assert done.code == 1, done.out
    line = one_line(done.err)
    assert "labels.csv" in line
    assert "2" in line.split("labels.csv", 1)[1]


def test_jpeg_zero_padded(case, prepared):
    folder = case("jpeg-zero-padded")
    padded = prepared("folder", width=160, height=120).sha256
    for path in folder.rglob("*.jpg"):
        path.write_bytes(path.read_bytes().rstrip(b"\x00"))
    assert prepared("folder", "--force", width=160, height=120).sha256 == padded


@pytest.mark.parametrize("name", ["same", "dot", "link", "target"])
def test_leak_same_image(case, inline, name):
    folder = case("leak-same-image")
    (folder / "1link.png").symlink_to("1.png")
    done = inline("datasets", "prepare", "folder", "--root", ".", "--set", f"pairs={name}.csv", *SMALL)
    assert done.code == 1, done.out
    assert "in train and in test" in one_line(done.err)


def test_leak_same_image_as_a_copy(case, inline):
    case("leak-same-image")
    words = ("folder", "--root", ".", "--set", "pairs=copy.csv", *SMALL)
    said = ""
    for verb in ("prepare", "verify", "stats"):
        done = inline("datasets", verb, *words)
        said += done.out + done.err
    assert "copy.png" in said


def test_order_unpadded_names(case, prepared):
    case("order-unpadded-names")
    pack = prepared("folder", source="vis", target="ir", match="order", width=64, height=64)
    found = {key: -correlation(a, b) for key, a, b in pairs_of(pack)}
    assert len(found) == 12
    assert min(found.values()) > 0.99, found


def test_stale_pack(case, tmp_path, packs):
    case("stale-pack")
    data = tmp_path / "data"
    data.mkdir()
    script = f'python() {{ "{sys.executable}" "$@"; }}; regbench() {{ python -m regbench "$@"; }}; . ./run.sh'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"REGBENCH_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    first, *rest = [line for line in done.stdout.splitlines() if line.startswith("pairs ")]
    assert "3 train" in first
    reads = bool(rest) and "5 train" in rest[0]
    assert reads or "--force" in done.stderr, done.stdout + done.stderr
    assert reads or done.returncode, done.stdout  # an old pack is never handed out as if it were fresh


def test_thermal14_raw(case, inline):
    case("thermal14-raw")
    done = inline("datasets", "prepare", "folder", "--root", ".", *SMALL)
    assert done.code == 0, done.err
    said = done.out + done.err
    stats = inline("datasets", "stats", "folder", "--root", ".", *SMALL)
    assert "of its range" in said + stats.out + stats.err
    # Set, the range gives the figures of the same scene stretched to 16 bits, within the noise of a few pairs.
    sets = [f"dataset.{setting}" for setting in ("width=160", "height=120", "range_b=7480..8380")]
    words = [word for setting in sets for word in ("--set", setting)]
    for registrator, most in (("ecc", 15), ("sift", 7)):
        judged = inline("evaluate", "--registrator", registrator, "--dataset", "folder", "--root", ".", *words,
                        "--budget", "smoke", "--json", "-q")  # fmt: skip
        assert judged.code == 0, judged.err
        assert judged.json["metrics"]["failed"]["value"] < most


def test_tiff16_whiteiszero(case, inline):
    from pathlib import Path

    from regbench.data.packs.pack import Pack

    case("tiff16-whiteiszero")
    done = inline("datasets", "prepare", "folder", "--root", ".", *SMALL, "--json")
    if done.code == 0:
        assert min(correlation(a, b) for _, a, b in pairs_of(Pack.open(Path(done.json["path"])))) > 0.99
    else:
        assert ".tif" in one_line(done.err)


@pytest.mark.parametrize("form", ["nfd", "gbk"])
def test_unicode_names(case, inline, tmp_path, form):
    case("unicode-names")
    made = subprocess.run([sys.executable, "make.py", form], cwd=tmp_path, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this file system takes no such names: {made.stderr[-200:]}")
    done = inline("datasets", "prepare", "folder", "--root", "root", "--set", "width=64", "--set", "height=64")
    if done.code == 0:
        assert "1 train, 1 test" in done.out
        return
    line = one_line(done.err)
    assert done.code == 1
    if form == "nfd":
        assert "Unicode" in line
        assert unicodedata.normalize("NFC", line).count("Köln_é") >= 1
    else:
        assert "_01.png" in line
        assert "surrogates" not in line


def test_numeric_folder_name(case, inline, tmp_path):
    import cv2

    case("numeric-folder-name")
    images = np.random.RandomState(0).randint(0, 256, (12, 64, 64, 3), np.uint8)
    for folder in ("2017", "2018"):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(images):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), image)
    done = inline("datasets", "prepare", "folder", "--root", ".", "--set", "source=2017", "--set", "target=2018",
                  "--set", "width=64", "--set", "height=64", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["modalities"] == ["2017", "2018"]
    assert sum(done.json["counts"].values()) == 12


def test_no_file_locks(case, regbench, tmp_path):
    import cv2

    case("no-file-locks")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    inject = f"import os, sys; os.environ['PYTHONPATH'] = {path!r}; sys.path.insert(0, {str(tmp_path)!r}); "
    inject += "sys.modules.pop('sitecustomize', None); import sitecustomize"
    for split in ("train", "test"):
        for side in ("source", "target"):
            (tmp_path / "root" / split / side).mkdir(parents=True)
            image = np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "root" / split / side / "1.png"), image)
    tiny = ("--set", "dataset.train=6", "--set", "dataset.test=6", "--set", "dataset.size=112")
    judged = regbench(
        "evaluate", "--registrator", "identity", "--budget", "smoke", *tiny, "--out", "runs", inject=inject
    )
    assert judged.code == 0, judged.err
    assert judged.err.count("no file locks") == 1
    small = ("--set", "width=64", "--set", "height=64")
    made = regbench("datasets", "prepare", "folder", "--root", "root", *small, inject=inject)
    assert made.code == 0, made.err
    assert "1 train, 1 test" in made.out
    assert made.err.count("no file locks") == 1
