"""Tries to get two results under one run id, and one result from changed data. Each way must be refused or change the
id; ways that change nothing must do neither.

What a run id promises stops at rounding: another number of threads or another machine may move the last digits.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from regbench.errors import RegbenchError
from tests.runs.place import TRAINED, Place, picture
from tests.runs.ways import data, packs, runs, weights
from tests.runs.ways.weights import write_trunk

WAYS = data.WAYS | packs.WAYS | weights.WAYS | runs.WAYS
REFUSED = data.REFUSED | packs.REFUSED | weights.REFUSED | runs.REFUSED
"""What is said where a way is refused; every other way gives another id."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A place with its pack and its finished runs, to be copied."""
    folder = tmp_path_factory.mktemp("audit") / "made"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(folder / "packs"))
        patched.setenv("TORCH_HOME", str(folder / "torch"))
        place = Place(folder).fill()
        write_trunk(folder / "torch/hub/checkpoints/resnet34-b627a593.pth", 0)
        write_trunk(folder / "trunk.pth", 0)
        place.run()
        place.run(**TRAINED)
        yield place


@pytest.fixture
def place(made, monkeypatch):
    """The same place, untouched: put back whatever an earlier test did there."""
    kept = made.folder.with_name("kept")
    if not kept.exists():
        shutil.copytree(made.folder, kept)
    shutil.rmtree(made.folder)
    shutil.copytree(kept, made.folder)  # with the times of all files
    monkeypatch.setenv("REGBENCH_DATA", str(made.folder / "packs"))
    monkeypatch.setenv("TORCH_HOME", str(made.folder / "torch"))
    return made


@pytest.mark.parametrize("way", WAYS)
def test_no_two_results_under_one_id(place, way):
    ids = {"the same", place.plan().run_id, place.plan(**TRAINED).run_id}
    if way not in REFUSED:
        assert WAYS[way](place) not in ids
        return
    with pytest.raises(RegbenchError, match=REFUSED[way]) as caught:
        WAYS[way](place)
    assert "\n" not in str(caught.value)


def again(place):
    """Nothing happened."""


def touched(place):
    for path in [*place.root.rglob("*.png"), place.root / "pairs.csv"]:
        os.utime(path)


def unrelated_files(place):
    (place.root / "notes.txt").write_text("taken on a Sunday")
    picture(500, place.root / "elsewhere/10.png")


def copied_pack(place):
    """To a machine where the pictures are not."""
    shutil.copytree(place.folder / "packs", place.folder / "packs3")
    os.environ["REGBENCH_DATA"] = str(place.folder / "packs3")  # monkeypatch puts it back


def one_more_thread(place):
    torch.set_num_threads(2)


@pytest.mark.parametrize("way", [again, touched, unrelated_files, copied_pack, one_more_thread])
def test_what_changes_nothing_keeps_the_id(place, way):
    before = place.plan().run_id
    way(place)
    try:
        assert place.plan().run_id == before
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("way", ["changed_image", "csv_other_partner", "edited_bit", "edited_brighter", "swapped_pack"])
def test_force_reads_the_files_again(place, way):
    """The pack is refused by name; --force of run and evaluate makes it again from the files that are there."""
    with pytest.raises(RegbenchError, match=r"folder-[0-9a-f]{10}\.h5 .*--force"):
        WAYS[way](place)
    plan = place.plan(force=True)
    assert plan.pack.sha256 == place.prepare(force=True).sha256
    assert place.plan().run_id == plan.run_id


def test_the_documentation_counts_the_ways():
    page = Path(__file__).parents[2] / "docs" / "provenance.md"
    assert f"tries {len(WAYS)} ways" in page.read_text(encoding="utf-8")
