"""Tries to get two results under one run id, and one result from changed data. Each way must be refused or change the
id; ways that change nothing must do neither.

What a run id promises stops at rounding: another number of threads or another machine may move the last digits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from regbench.data import manifest as manifests
from regbench.errors import RegbenchError
from regbench.ops import resnet34
from regbench.report import leaderboard
from regbench.results.layout import CHECKPOINT, PAIRS, RESULT, WEIGHTS
from regbench.results.pairs import read_pairs, write_pairs
from regbench.runs import learning
from regbench.runs import request as requests
from regbench.runs.execute import execute
from regbench.runs.learning import stage_cache_of
from regbench.training.checkpoint import read_checkpoint
from tests.runs.place import TRAINED, Place, picture

Try = Callable[[Place], str]
"""Does mischief and returns the run id that comes out of it; or is refused."""


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


def write_trunk(path, seed: int) -> None:
    """The first stage of a ResNet-34, under torchvision's keys."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(resnet34(depths=(3,), widths=(64,)).state_dict(), path)


# What is judged or learned from.


def changed_image(place):
    picture(500, place.root / "target/10.png")
    return place.plan().run_id


def changed_training_image(place):
    picture(500, place.root / "source/02.png")
    return place.plan(**TRAINED).run_id


def changed_image_of_equal_size(place):
    path = place.root / "target/10.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    return place.plan().run_id


def removed_pair(place):
    for side in ("source", "target"):
        (place.root / side / "11.png").unlink()
    return place.plan().run_id


def renamed_image(place):
    (place.root / "target/10.png").rename(place.root / "target/20.png")
    return place.plan().run_id


def exchanged_images(place):
    one, two = place.root / "target/10.png", place.root / "target/11.png"
    one.rename(place.root / "x.png")
    two.rename(one)
    (place.root / "x.png").rename(two)
    return place.plan().run_id


def edit_csv(place, old: str, new: str, *, plan: bool = True) -> str:
    path = place.root / "pairs.csv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return place.plan().run_id if plan else ""


def csv_other_partner(place):
    edit_csv(place, "source/09.png,target/09.png", "source/09.png,target/10.png", plan=False)
    return edit_csv(place, "source/10.png,target/10.png", "source/10.png,target/09.png")


def csv_other_split(place):
    return edit_csv(place, "08.png,train", "08.png,test")


def csv_other_group(place):
    return edit_csv(place, "test,11", "test,10")


def csv_another_row(place):
    for side in ("source", "target"):
        picture(600, place.root / side / "12.png")
    return edit_csv(place, "test,11\n", "test,11\nsource/12.png,target/12.png,test,12\n")


def without_root(place):
    """The pack knows its folder, also where nobody names it."""
    picture(500, place.root / "target/10.png")
    return place.plan(root=None).run_id


# The pack.


def edited_bit(place):
    with h5py.File(place.pack) as file:
        offset = file["test/b"].id.get_offset()
    stat = place.pack.stat()
    with place.pack.open("r+b") as raw:
        raw.seek(offset + 5000)
        byte = raw.read(1)[0]
        raw.seek(offset + 5000)
        raw.write(bytes([byte ^ 1]))
    os.utime(place.pack, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and nobody shall see it
    return place.plan().run_id


def edited(change) -> Try:
    def way(place):
        place.edit_pack(change)
        return place.plan().run_id

    return way


def brighter(file):
    file.attrs["max_value_b"] = 200


def unaligned(file):
    file.attrs["aligned"] = False


def distorted(file):
    file.attrs["distortion"] = "pds"


def another_hash(file):
    file.attrs["sha256"] = "0" * 64


def another_pixel_and_hash(file):
    from regbench.data.packs.format import content_hash

    file["test/b"][0, 0, 0, 0] += 1
    file.attrs["sha256"] = content_hash(file)


def another_list_of_files(file):
    file["files"][0] = ord(" ")


def swapped_pack(place):
    ours = place.pack
    other = place.plan(sets={"dataset": {"pairs": "pairs.csv", "height": 112, "width": 112}}).pack.path
    assert other != ours
    shutil.copyfile(other, ours)
    return place.plan().run_id


def half_made(place):
    """Interrupted, then an image changes, then the same command continues."""
    from regbench.data.packs import writer as pack_writer

    first = place.pack
    sha256 = place.prepare().sha256
    first.unlink()
    seen = []

    def stop(split, done, total):
        seen.append(done)
        if len(seen) == 10:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pack_writer, "_CHECKPOINT", 1)
        with pytest.raises(KeyboardInterrupt):
            place.prepare(progress=stop, workers=1)
    assert first.with_name(first.name + ".partial").exists()
    picture(500, place.root / "source/00.png")
    assert place.prepare().sha256 != sha256
    return place.plan(**TRAINED).run_id


def pack_replaced_while_in_use(place):
    plan = place.plan(seed=3)
    picture(500, place.root / "target/10.png")
    place.prepare(force=True)
    return execute(plan).run_id


def another_data_folder(place):
    """The same words, other packs: ``REGBENCH_DATA`` changed, no root."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(place.folder / "packs2"))
        shutil.copytree(place.root, place.folder / "set2")
        picture(500, place.folder / "set2/target/10.png")
        place.plan(root=place.folder / "set2")
        return place.plan(root=None).run_id


# Weights and code.


def weights_of_the_same_name(place):
    place.write_weights(2)
    return place.plan().run_id


def bihome(place, weights: str) -> str:
    sets = {"strategy": {"steps": 3, "batch": 4, "weights": weights}}
    return place.plan(**TRAINED | {"strategy": "bihome"}, sets=sets).run_id


def file_of_a_setting(place):
    path = place.folder / "trunk.pth"
    assert bihome(place, str(path)) == bihome(place, str(path))
    before = bihome(place, str(path))
    write_trunk(path, 1)
    return _same(before, bihome(place, str(path)))


def file_of_the_cache(place):
    before = bihome(place, "imagenet")
    write_trunk(place.folder / "torch/hub/checkpoints/resnet34-b627a593.pth", 1)
    return _same(before, bihome(place, "imagenet"))


def another_file_of_the_cache(place):
    """An older name is found where the newer file is gone."""
    before = bihome(place, "imagenet")
    cache = place.folder / "torch/hub/checkpoints"
    (cache / "resnet34-b627a593.pth").unlink()
    write_trunk(cache / "resnet34-333f7ec4.pth", 1)
    return _same(before, bihome(place, "imagenet"))


def features_of_a_loss(place):
    folder = place.folder / "lpips"
    folder.mkdir()
    for name in ("vgg16-397923af.pth", "vgg.pth"):
        (folder / name).write_bytes(b"one")

    def planned():
        loss = {"steps": 3, "batch": 4, "corr": "none", "pcp_backend": "vgg16", "pcp_weights": str(folder)}
        sets = {"strategy": loss, "translator": {"preset": "tiny"}}
        return place.plan(**TRAINED | {"strategy": "sshnet", "translator": "mimgcd"}, sets=sets).run_id

    before = planned()
    (folder / "vgg.pth").write_bytes(b"two")
    return _same(before, planned())


def _same(before: str, after: str) -> str:
    """The id of the plain run where nothing changed, for the comparison at the end."""
    return "the same" if before == after else "another"


def half_precision(place):
    return place.plan(**TRAINED | {"precision": "bf16"}).run_id


def plugin_of_another_version(place):
    real = requests.configure

    def newer(*args):
        configured = real(*args)
        return replace(configured, component=replace(configured.component, version="99"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(requests, "configure", newer)
        return place.plan().run_id


def other_code_that_cuts(place):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(manifests, "CUTTING", 2)
        return place.plan().run_id


# What finished and interrupted runs left.


def weights_of_a_finished_run(place):
    """Replaced, then judged on other data."""
    folder = place.plan(**TRAINED).folder
    shutil.copyfile(place.plan().folder / WEIGHTS, folder / WEIGHTS)
    return place.transfer(folder).run_id


def one_weight_of_a_finished_run(place):
    path = place.plan(**TRAINED).folder / WEIGHTS
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 1
    from regbench.weights.files import read_metadata

    save_file(tensors, path, read_metadata(path))
    return place.transfer(path.parent).run_id


def weights_of_a_teacher(place):
    folder = place.plan(**TRAINED).folder
    shutil.copyfile(place.plan().folder / WEIGHTS, folder / WEIGHTS)
    return place.plan(**TRAINED | {"strategy": "sshnet-d", "teacher": folder}, sets={"strategy": {"steps": 2}}).run_id


def result_of_another_run(place):
    plan = place.plan(seed=3)
    plan.folder.mkdir()
    shutil.copyfile(place.plan().folder / RESULT, plan.folder / RESULT)
    return execute(plan).run_id


def checkpoint_of(**other) -> Try:
    def way(place):
        """Continue from what another run left."""
        plan, (theirs, _) = place.plan(**TRAINED | {"seed": 5}), place.run(**TRAINED | other)
        assert read_checkpoint(theirs.folder / CHECKPOINT) is not None
        plan.folder.mkdir()
        shutil.copyfile(theirs.folder / CHECKPOINT, plan.folder / CHECKPOINT)
        return execute(plan).run_id

    return way


def checkpoint_of_another_device(place):
    plan = place.plan(**TRAINED | {"seed": 5})
    with pytest.MonkeyPatch.context() as patched:
        real = learning._binding
        patched.setattr(learning, "_binding", lambda plan: real(plan) | {"device": "cuda"})
        execute(plan)
    (plan.folder / RESULT).unlink()
    (plan.folder / WEIGHTS).unlink()  # else they are judged again
    return execute(place.plan(**TRAINED | {"seed": 5})).run_id


def shared_stage_of_other_data(place):
    """A grid's cache: the file of one run under the name another one looks for."""
    shared = {"run": {"share": str(place.folder / "shared")}, "strategy": {"steps": 2, "batch": 4}}
    words = TRAINED | {"strategy": "translate", "translator": "cut", "budget": "smoke", "sets": shared}
    one, two = place.plan(**words), place.plan(**words | {"precision": "bf16"})
    caches = [stage_cache_of(plan) for plan in (one, two)]
    assert caches[0].keys
    assert caches[0].keys != caches[1].keys
    caches[0].store(0, 1.0)
    caches[0]._path(0).rename(caches[1]._path(0))
    assert caches[1].load(0) is None
    return "another"


def board_with_other_numbers(place):
    folder = place.plan().folder
    leaderboard.add(place.folder, "demo", [folder])
    pairs = read_pairs(folder / PAIRS)
    write_pairs(folder / PAIRS, replace(pairs, estimate=pairs.estimate + np.float32(1)))
    leaderboard.add(place.folder, "demo", [folder])
    return "the same"


WAYS: dict[str, Try] = (
    {
        way.__name__: way
        for way in (
            changed_image,
            changed_training_image,
            changed_image_of_equal_size,
            removed_pair,
            renamed_image,
            exchanged_images,
            csv_other_partner,
            csv_other_split,
            csv_other_group,
            csv_another_row,
            without_root,
            edited_bit,
            swapped_pack,
            half_made,
            pack_replaced_while_in_use,
            another_data_folder,
            weights_of_the_same_name,
            file_of_a_setting,
            file_of_the_cache,
            another_file_of_the_cache,
            features_of_a_loss,
            half_precision,
            plugin_of_another_version,
            other_code_that_cuts,
            weights_of_a_finished_run,
            one_weight_of_a_finished_run,
            weights_of_a_teacher,
            result_of_another_run,
            checkpoint_of_another_device,
            shared_stage_of_other_data,
            board_with_other_numbers,
        )
    }
    | {
        f"edited_{change.__name__}": edited(change)
        for change in (brighter, unaligned, distorted, another_hash, another_pixel_and_hash, another_list_of_files)
    }
    | {
        "checkpoint_of_another_seed": checkpoint_of(seed=6),
        "checkpoint_of_another_strategy": checkpoint_of(strategy="self-supervised"),
        "checkpoint_of_another_precision": checkpoint_of(seed=5, precision="bf16"),
    }
)


CONTENT = r"folder-\w+\.h5 no longer fits its data set and is not used: \S+{} has another content.*--force"
GONE = r"folder-\w+\.h5 no longer fits its data set and is not used: \S+{} is gone.*--force"
EDITED = r"folder-\w+\.h5 is damaged: its {}.*--force"
WEIGHTS_DIFFER = r"weights\.safetensors: holds other weights than the run was judged with"
CHECKPOINT_DIFFERS = r"checkpoint\.safetensors: was made with {}.*--force"
REFUSED = {
    "changed_image": CONTENT.format(r"target/10\.png"),
    "changed_training_image": CONTENT.format(r"source/02\.png"),
    "changed_image_of_equal_size": CONTENT.format(r"target/10\.png"),
    "exchanged_images": CONTENT.format(r"target/10\.png"),
    "without_root": CONTENT.format(r"target/10\.png"),
    "removed_pair": GONE.format(r"source/11\.png"),
    "renamed_image": GONE.format(r"target/10\.png"),
    **dict.fromkeys(
        ("csv_other_partner", "csv_other_split", "csv_other_group", "csv_another_row"), CONTENT.format(r"pairs\.csv")
    ),
    "edited_bit": EDITED.format("content hashes to"),
    **dict.fromkeys(
        ("edited_brighter", "edited_unaligned", "edited_distorted", "edited_another_hash",
         "edited_another_pixel_and_hash"), EDITED.format("attributes were edited")
    ),
    "edited_another_list_of_files": EDITED.format("list of files was edited"),
    "swapped_pack": r"is not used: it holds folder \S+ at other settings than its file name says",
    "pack_replaced_while_in_use": "was changed while it was in use; run the same command again",
    "weights_of_a_finished_run": WEIGHTS_DIFFER,
    "one_weight_of_a_finished_run": WEIGHTS_DIFFER,
    "weights_of_a_teacher": WEIGHTS_DIFFER,
    "result_of_another_run": r"result\.json is of run \w+, not of \w+",
    "checkpoint_of_another_device": CHECKPOINT_DIFFERS.format("device cuda, this run has cpu"),
    "checkpoint_of_another_seed": CHECKPOINT_DIFFERS.format("run id"),
    "checkpoint_of_another_strategy": CHECKPOINT_DIFFERS.format("run id"),
    "checkpoint_of_another_precision": CHECKPOINT_DIFFERS.format("run id"),
    "board_with_other_numbers": r"holds other numbers under the id of .* --replace",
}  # fmt: skip
"""What is said where a way is refused; every other way gives another id."""


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
