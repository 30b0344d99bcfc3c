"""What a run's identity holds of the files its components read."""

from __future__ import annotations

import hashlib

import pytest
import torch

from regbench.errors import DataError, PluginError
from regbench.ops import RESNET34_DEPTHS, RESNET34_WIDTHS, imagenet
from regbench.results.layout import CHECKPOINT
from regbench.runs.execute import execute
from regbench.weights.published import read_published
from regbench.weights.used import known_weights_only, note_weights, weights_used
from regbench_strategies.bihome import BiHomE
from tests.runs.place import TRAINED, Place
from tests.runs.test_audit import write_trunk

BIHOME = TRAINED | {"strategy": "bihome"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))
    return Place(tmp_path).fill()


def bihome(place, weights) -> dict:
    return BIHOME | {"sets": {"strategy": {"steps": 2, "batch": 4, "weights": str(weights)}}}


def test_the_innermost_collects(tmp_path):
    """A registrator's files are the registrator's, though the strategy builds it."""
    paths = [tmp_path / "a" / "w.pth", tmp_path / "b" / "w.pth"]
    for i, path in enumerate(paths):
        path.parent.mkdir()
        torch.save({"x": torch.full((2,), float(i))}, path)
    sha = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    with weights_used() as strategy:
        read_published(paths[0])
        with weights_used() as registrator:
            read_published(paths[1])
        read_published(paths[0])
    assert (strategy, registrator) == ({"w.pth": sha[0]}, {"w.pth": sha[1]})
    with weights_used() as both:
        for path in paths:
            note_weights(path)
    assert sorted(both.values()) == sorted(sha)  # of one name, and both there


def test_a_run_knows_what_its_loss_reads(place, tmp_path):
    write_trunk(tmp_path / "trunk.pth", 0)
    plan = place.plan(**bihome(place, tmp_path / "trunk.pth"))
    sha = hashlib.sha256((tmp_path / "trunk.pth").read_bytes()).hexdigest()
    assert plan.identity.strategy.files == {"trunk.pth": sha}
    assert plan.identity.registrator.files == {}
    assert execute(plan).status == "ok"  # reading a file it knows is no offence


def test_a_registrator_knows_what_it_starts_from(place, tmp_path, monkeypatch):
    """``pretrained`` from a file, and from whatever the cache holds."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    full = {"depths": RESNET34_DEPTHS, "widths": RESNET34_WIDTHS}
    network = place.plan(registrator="dhn-resnet34", **TRAINED, sets={"registrator": full})
    assert network.identity.registrator.files == {}
    trunk = {k.removeprefix("network."): v for k, v in network.deployed.state_dict().items()}
    trunk["conv1.weight"] = torch.zeros(64, 3, 7, 7)
    cached = tmp_path / "torch/hub/checkpoints" / imagenet.TORCHVISION[0]
    cached.parent.mkdir(parents=True)
    torch.save(trunk, cached)
    plan = place.plan(registrator="dhn-resnet34", **TRAINED, sets={"registrator": full | {"pretrained": True}})
    assert plan.identity.registrator.files == {cached.name: hashlib.sha256(cached.read_bytes()).hexdigest()}


def test_a_missing_file_is_told_before_any_time_is_spent(place, tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth: no such file"):
        place.plan(**bihome(place, tmp_path / "absent.pth"))


def test_a_strategy_that_hides_what_it_reads_is_refused(place, tmp_path, monkeypatch):
    write_trunk(tmp_path / "trunk.pth", 0)
    real = BiHomE.weight_files
    monkeypatch.setattr(BiHomE, "_read_weights", lambda self: read_published(real(self)[0]) and None)
    monkeypatch.setattr(BiHomE, "weight_files", lambda self: ())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    write_trunk(tmp_path / "torch/hub/checkpoints" / imagenet.TORCHVISION[0], 0)
    plan = place.plan(**bihome(place, "imagenet"))
    with pytest.raises(PluginError, match=r"resnet34-b627a593\.pth: is read while the run trains.*weight_files\(\)"):
        execute(plan)
    assert not (plan.folder / CHECKPOINT).exists()


def test_a_file_that_changes_after_the_plan_is_refused(place, tmp_path):
    write_trunk(tmp_path / "trunk.pth", 0)
    plan = place.plan(**bihome(place, tmp_path / "trunk.pth"))
    write_trunk(tmp_path / "trunk.pth", 1)
    with pytest.raises(PluginError, match=r"trunk\.pth: is read while the run trains"):
        execute(plan)


def test_the_precision_of_what_does_not_train_is_no_matter(place):
    assert place.plan(precision="bf16").run_id == place.plan().run_id
    with known_weights_only(set()):
        place.plan()  # a file given by --weights is in the identity by its own name


def test_a_cell_made_of_other_data_is_not_done(tmp_path):
    from dataclasses import replace

    from regbench.ablation.cells import cells_of
    from regbench.ablation.recipe_file import read_recipe
    from regbench.results.layout import RESULT
    from tests.report.made_up import identity_of, pairs_of, save_run

    (tmp_path / "r.toml").write_text(
        'title = "T"\ndescription = "D"\ncontrols = false\nbudget = "smoke"\nseeds = [0]\n[data.synthetic]\n'
        '[[row]]\nname = "nothing"\nregistrator = "identity"\n'
    )
    (cell,) = cells_of(read_recipe(tmp_path / "r.toml"), {}, lambda name: True, "cpu")
    run = save_run(tmp_path / cell.name, identity_of("identity", train_dataset=None), pairs_of(-1, 0))
    assert (tmp_path / cell.name / run.run_id / RESULT).is_file()
    first, other = replace(cell, data="a" * 64), replace(cell, data="b" * 64)
    first.record(tmp_path, "ok", run=run.run_id)
    assert first.result(tmp_path) is not None
    assert cell.result(tmp_path) is not None  # a dry run knows no pack
    assert other.result(tmp_path) is None
