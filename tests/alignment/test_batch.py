"""The command: outputs, exit codes, lists and folders of pairs."""

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from regbench.alignment.batch import pairs_of_folders, pairs_of_list
from regbench.cli.register import command
from regbench.errors import DataError, RegbenchError, UsageError
from tests.alignment.scenes import error, large, moved

TURN = np.array([[1.02, 0.05, -9.0], [-0.04, 0.99, 12.0], [3e-5, 0, 1.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two folders of pairs; the second pair has no answer, the third is broken."""
    root = tmp_path_factory.mktemp("pairs")
    image = large(240)
    for side, seen in (("a", image), ("b", moved(image, TURN))):
        (root / side).mkdir()
        cv2.imwrite(str(root / side / "one.png"), seen)
        cv2.imwrite(str(root / side / "two.png"), seen if side == "a" else np.full_like(seen, 80))
        (root / side / "three.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    cv2.imwrite(str(root / "a/alone.png"), image)
    (root / "list.csv").write_text("source, target, remark\na/one.png,b/one.png,x\n\na/two.png,b/one.png,y\n")
    return root


def call(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    return result, result.exception


def test_every_output(folder, tmp_path):
    files = {"warped": "w.tif", "matrix": "m.txt", "overlay": "o.jpg"}
    options = [x for name, file in files.items() for x in (f"--{name}", tmp_path / file)]
    result, failed = call(folder / "a/one.png", folder / "b/one.png", "--method", "sift", *options)
    assert failed is None
    matrix = np.loadtxt(tmp_path / "m.txt")
    assert error(matrix, TURN, (240, 240)) < 0.3
    printed = np.array([[float(x) for x in line.split()] for line in result.stdout.splitlines()])
    np.testing.assert_allclose(printed, matrix, rtol=1e-6, atol=1e-8)
    warped, target = tifffile.imread(tmp_path / "w.tif"), cv2.imread(str(folder / "b/one.png"), 0)
    assert np.abs(warped.astype(int) - target)[20:-20, 20:-20].mean() < 6  # 120 where it lies elsewhere
    assert cv2.imread(str(tmp_path / "o.jpg")).shape[1] > 900
    assert "sift: confidence" in result.stderr


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_no_answer_is_exit_code_1(folder, json_, tmp_path):
    pair = [str(folder / "a/two.png"), str(folder / "b/two.png")]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "regbench",
            "register",
            *pair,
            "--method",
            "sift",
            "--matrix",
            tmp_path / "m.txt",
            *json_,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "no answer was found" in done.stderr
    assert not (tmp_path / "m.txt").exists()
    if json_:
        assert json.loads(done.stdout)["ok"] is False
    else:
        assert done.stdout == ""


def test_folders_go_on_after_a_bad_pair(folder, tmp_path):
    result, failed = call(folder / "a", folder / "b", "--method", "sift", "--out", tmp_path / "out")
    assert isinstance(failed, RegbenchError)
    assert "2 of 3 pairs have no answer" in str(failed)
    with (tmp_path / "out/results.csv").open() as file:
        rows = {row["source"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert list(rows) == ["one.png", "three.png", "two.png"]
    good = rows["one.png"]
    assert good["ok"] == "True"
    found = np.array([float(good[f"h{i}{j}"]) for i in "123" for j in "123"]).reshape(3, 3)
    assert error(found, TURN, (240, 240)) < 0.3
    assert "truncated or not an image" in rows["three.png"]["error"]
    assert rows["two.png"]["ok"] == "False"
    assert (tmp_path / "out/1-one/warped.png").is_file()
    assert not (tmp_path / "out/3-two/warped.png").exists()
    assert "1/3 one.png > one.png: sift, confidence" in result.stderr
    assert "left out 1 images without a partner, such as alone" in result.stderr


def test_a_list_names_files_beside_it(folder, tmp_path):
    pairs = pairs_of_list(folder / "list.csv")
    assert [p.source.name for p in pairs] == ["one.png", "two.png"]
    _, failed = call("--pairs", folder / "list.csv", "--method", "sift", "--out", tmp_path / "out", "--json")
    assert failed is None
    assert len((tmp_path / "out/results.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(("text", "says"), [
    ("", "line 1: names no columns"),
    ("a,b\nx,y\n", "line 1: names no columns"),
    ("source,target\nx.png\n", "line 2: names no source or no target"),
    ("source,target\n", "holds no pair"),
])  # fmt: skip
def test_lists_that_are_none(tmp_path, text, says):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        pairs_of_list(tmp_path / "x.csv")


def test_folders_without_common_names(tmp_path, folder):
    with pytest.raises(DataError, match="holds no image"):
        pairs_of_folders(tmp_path, folder / "a")
    cv2.imwrite(str(tmp_path / "x.png"), large(40))
    with pytest.raises(DataError, match="no file name in common"):
        pairs_of_folders(tmp_path, folder / "a")
    cv2.imwrite(str(tmp_path / "x.jpg"), large(40))
    with pytest.raises(DataError, match=r"x\.jpg and x\.png"):
        pairs_of_folders(tmp_path, folder / "a")


@pytest.mark.parametrize(("words", "says"), [
    ((), "name SOURCE and TARGET"),
    (("a.png",), "name SOURCE and TARGET"),
    (("a.png", "b.png", "--method", "sift", "--registrator", "orb"), "one of --method"),
    (("a.png", "b.png", "--set", "strategy.steps=1"), "only the method has settings"),
    (("a.png", "b.png", "--bands", "x"), "numbers of bands"),
    (("a.png", "b.png", "--warped", "x.gif"), "written as"),
    (("a.png", "b.png", "--matrix", "none/x.txt"), "there is no folder"),
    (("a.png", "b.png", "--pairs", "x.csv"), "name none beside it"),
    ((".", "b.png"), "two images, or two folders"),
    ((".", "."), "written with --out"),
    (("a.png", "b.png", "--method", "sift", "--weights", "none.safetensors"), "no such file"),
])  # fmt: skip
def test_usage(words, says):
    _, failed = call(*words)
    assert isinstance(failed, UsageError | DataError)
    with pytest.raises((UsageError, DataError), match=says):
        raise failed


def test_settings_reach_the_method(folder):
    _, failed = call(
        folder / "a/one.png", folder / "b/one.png", "--method", "sift", "--set", "registrator.contrast=0.9"
    )
    assert "no answer" in str(failed)  # no keypoint has such a contrast
