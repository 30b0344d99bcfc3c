"""What a dry run finds before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from regbench.ablation.cells import cells_of
from regbench.ablation.check import Findings, check_cells
from regbench.ablation.opened import open_data
from regbench.ablation.recipe_file import read_recipe
from regbench.data.packs.prepare import ensure, prepare
from regbench.errors import DataError
from tests.data.duplicates.test_alike import Large, scene

HEAD = 'title = "T"\nbudget = "smoke"\ncontrols = false\nseeds = [0]\n'
GOOD = '[[row]]\nname = "good"\nregistrator = "dhn"\nstrategy = "supervised"\n'


def osdataset(folder: Path, size: int = 256, train: int = 3) -> Path:
    """The published layout with few images."""
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    for split, count in (("train", train), ("test", 2)):
        (folder / "256" / split).mkdir(parents=True)
        for i in range(1, count + 1):
            cv2.imwrite(str(folder / "256" / split / f"opt{i}.png"), noise)
            cv2.imwrite(str(folder / "256" / split / f"sar{i}.png"), noise[..., 0])
    return folder


def googleearth(folder: Path) -> Path:
    places = {"top_left": (40, 36), "top_right": (150, 30), "bottom_left": (30, 150), "bottom_right": (155, 160)}
    label = json.dumps({"location": [{f"{name}_u": u, f"{name}_v": v} for name, (u, v) in places.items()]})
    noise = np.random.default_rng(0).integers(0, 255, (192, 192, 3), dtype=np.uint8)
    for split in ("train2014", "val2014"):
        for kind, side in (("input", 192), ("template", 128), ("label", 0)):
            (folder / f"{split}_{kind}").mkdir(parents=True)
            if side:
                cv2.imwrite(str(folder / f"{split}_{kind}" / "0_1.jpg"), noise[:side, :side])
        (folder / f"{split}_label" / "0_1_label.txt").write_text(label)
    return folder


def found(folder: Path, text: str, roots: dict[str, Path] | None = None, **more) -> Findings:
    path = folder / "recipe.toml"
    path.write_text(HEAD + text)
    return check_cells(cells_of(read_recipe(path), roots or {}, lambda name: name == "synthetic", "cpu"), **more)


def test_a_recipe_without_fault_has_none_and_its_data_were_opened(tmp_path):
    text = 'datasets = ["osdataset", "googleearth"]\npairing = "frozen"\n[protocol.googleearth]\npairing = "given"\n'
    roots = {"osdataset": osdataset(tmp_path / "os"), "googleearth": googleearth(tmp_path / "ge")}
    findings = found(tmp_path, text + GOOD, roots)
    assert findings.problems == {}
    assert {name: dict(data.counts) for name, data in findings.data.items()} == {
        "osdataset": {"train": 3, "test": 2},
        "googleearth": {"train": 1, "test": 1},
    }
    assert findings.data["osdataset"].channels == (3, 1)
    assert findings.built == {"good"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('registrator = "dhn"\nstrategy = "supervised"\nset.strategy.nonsense = 1', "unknown setting of strategy"),
        ('registrator = "dhn"\nstrategy = "supervised"\nset.strategy.steps = 0', "steps=0"),
        ('registrator = "dhn"\nstrategy = "supervised"\npublished.strategy.lrr = 1', "unknown setting of strategy"),
        ('registrator = "dhn"\nstrategy = "supervised"\nset.protocol.nonsense = 1', "unknown setting of protocol"),
        ('registrator = "dhn"\nstrategy = "supervised"\nset.protocol.rho = 40', "can fold a patch of 64 px"),
        ('registrator = "dhn"\nstrategy = "supervised"\nset.protocol.patch = 256', "too small for patch=256"),
        ('registrator = "dhn"\nstrategy = "supervised"\nprotocol.osdataset.oversample = 0', "oversample=0"),
        ('registrator = "dhn"\nstrategy = "supervised"\nset.run.nonsense = 1', "unknown setting of run"),
        ('registrator = "dhn"\nstrategy = "supervised"\npairing = "given"', "holds aligned pairs"),
        ('registrator = "mhn"\nstrategy = "sshnet"\ntranslator = "unet"', "needs a registrator with features"),
        ('registrator = "dhn"', "dhn has to be trained"),
        ('registrator = "dhn"\nstrategy = "supervised"\nteacher = "good"', "learns from no finished run"),
        ('registrator = "dhn"\nstrategy = "sshnet-d"', "add --teacher"),
    ],
)
def test_a_wrong_row_is_told_with_the_reason_and_no_other(tmp_path, row, said):
    roots = {"osdataset": osdataset(tmp_path / "os")}
    problems = found(tmp_path, f'datasets = ["osdataset"]\n{GOOD}[[row]]\nname = "wrong"\n{row}\n', roots).problems
    assert list(problems) == ["wrong-osdataset-0"]
    assert said in problems["wrong-osdataset-0"]


def test_frozen_pairs_of_really_unaligned_images_are_told(tmp_path):
    roots = {"googleearth": googleearth(tmp_path / "ge")}
    problems = found(tmp_path, f'datasets = ["googleearth"]\npairing = "frozen"\n{GOOD}', roots).problems
    assert "use --pairing given" in problems["good-googleearth-0"]


@pytest.mark.parametrize(("pairs", "labelled", "expected"), [(3, 0, False), (3, 1, True), (40, 0, True)])
def test_labels_that_a_supervised_row_needs_are_missed(tmp_path, pairs, labelled, expected):
    """The last ``labelled`` training pairs have a label; of many pairs without one, the others were not looked at."""
    rng = np.random.default_rng(0)
    lines = ["source,target,split,group,h11,h12,h13,h21,h22,h23,h31,h32,h33"]
    for i in range(pairs + 1):
        for side in "ab":
            cv2.imwrite(str(tmp_path / f"{side}{i}.png"), rng.integers(0, 255, (64, 64), dtype=np.uint8))
        label = "1,0,3,0,1,2,0,0,1" if i >= pairs - labelled else ",,,,,,,,"
        lines.append(f"a{i}.png,b{i}.png,{'train' if i < pairs else 'test'},g{i},{label}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    recipe = 'datasets = ["folder"]\n[data.folder]\naligned = false\npairs = "pairs.csv"\n'
    problems = found(tmp_path, recipe + GOOD, {"folder": tmp_path}).problems
    missed = {"good-folder-0": "folder carries no labels, which a supervised strategy needs"}
    assert problems == ({} if expected else missed)


@pytest.mark.parametrize("damage", ["no folder", "no layout", "truncated image", "no partner"])
def test_data_that_cannot_be_read_stop_their_cells_alone(tmp_path, damage):
    root = osdataset(tmp_path / "os")
    first = root / "256" / "train" / "opt1.png"
    said = {
        "no folder": "is not a folder",
        "no layout": "256",
        "truncated image": "opt1.png",
        "no partner": "sar",
    }[damage]
    if damage == "no folder":
        root = tmp_path / "nowhere"
    elif damage == "no layout":
        (root / "256").rename(root / "images")
    elif damage == "truncated image":
        first.write_bytes(first.read_bytes()[:200])
    else:
        (root / "256" / "test" / "sar2.png").unlink()
    text = f'datasets = ["synthetic", "osdataset"]\n[data.synthetic]\ntrain = 6\ntest = 6\n{GOOD}'
    problems = found(tmp_path, text, {"osdataset": root}).problems
    assert list(problems) == ["good-osdataset-0"]
    assert said in problems["good-osdataset-0"]


def test_a_pack_of_files_that_have_changed_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))
    root = osdataset(tmp_path / "os")
    text = f'datasets = ["osdataset"]\n{GOOD}'
    ensure("osdataset", root=root.resolve())
    assert "the same image" in found(tmp_path, text, {"osdataset": root}).problems["good-osdataset-0"]
    cv2.imwrite(str(root / "256" / "train" / "opt1.png"), np.full((256, 256, 3), 7, np.uint8))
    assert "no longer fits" in found(tmp_path, text, {"osdataset": root}).problems["good-osdataset-0"]


def test_what_needs_a_wrong_cell_is_told_too(tmp_path):
    text = (
        'datasets = ["osdataset"]\ntransfer = ["googleearth"]\n'
        '[[row]]\nname = "student"\nregistrator = "dhn"\nstrategy = "sshnet-d"\nteacher = "teacher"\n'
        '[[row]]\nname = "teacher"\nregistrator = "mhn"\nstrategy = "sshnet"\ntranslator = "unet"\n'
    )
    roots = {"osdataset": osdataset(tmp_path / "os"), "googleearth": googleearth(tmp_path / "ge")}
    problems = found(tmp_path, text, roots).problems
    assert "needs teacher-osdataset-0, which cannot run" in problems["student-osdataset-0"]
    assert set(problems) == {
        f"{row}-osdataset-0{judged}" for row in ("teacher", "student") for judged in ("", "-on-googleearth")
    }


def test_a_patch_that_does_not_fit_where_a_run_is_judged_is_told(tmp_path):
    text = f'datasets = ["osdataset"]\ntransfer = ["googleearth"]\nset.protocol.patch = 144\n{GOOD}'
    roots = {"osdataset": osdataset(tmp_path / "os"), "googleearth": googleearth(tmp_path / "ge")}
    problems = found(tmp_path, text, roots).problems
    assert list(problems) == ["good-osdataset-0-on-googleearth"]
    assert "central 128 px" in problems["good-osdataset-0-on-googleearth"]


def test_a_train_split_that_is_empty_is_told(tmp_path):
    roots = {"osdataset": osdataset(tmp_path / "os", train=0)}
    problems = found(tmp_path, f'datasets = ["osdataset"]\n{GOOD}', roots).problems
    assert problems["good-osdataset-0"]


def test_networks_that_were_not_built_are_counted(tmp_path):
    roots = {"osdataset": osdataset(tmp_path / "os")}
    findings = found(tmp_path, f'datasets = ["osdataset"]\n{GOOD}', roots, seconds=-1)
    assert (findings.built, findings.not_built) == (set(), {"good"})


def test_a_pack_with_training_images_in_its_test_split_trains_nothing(tmp_path):
    pairs = [(scene((i, 0)), scene((i, 1))) for i in range(3)]
    sets = {"train": {"1": pairs[0], "2": pairs[1]}, "test": {"3": pairs[2], "copy": pairs[0]}}
    pack = prepare(Large(sets), "mine", "1", tmp_path / "p.h5")
    text = f'datasets = ["{pack.path}"]\n{GOOD}[[row]]\nname = "nothing"\nregistrator = "identity"\n'
    path = tmp_path / "recipe.toml"
    path.write_text(HEAD + text)
    findings = check_cells(cells_of(read_recipe(path), {}, lambda name: True, "cpu"))
    ((cell, reason),) = findings.problems.items()
    assert cell.startswith("good-")
    assert "the same image" in reason


def test_a_pack_is_opened_where_there_is_no_folder(tiny_pack):
    opened = open_data(str(tiny_pack.path), None, {})
    assert (opened.size, dict(opened.counts), opened.labelled) == ((128, 128), {"train": 6, "test": 4}, True)
    tiny = tiny_pack.path.with_name("broken.h5")
    tiny.write_bytes(tiny_pack.path.read_bytes()[:5000])
    with pytest.raises(DataError):
        open_data(str(tiny), None, {})
