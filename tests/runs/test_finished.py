"""A finished run opens as what it was judged as, wherever it came from, or not at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from regbench.alignment.methods import method_of
from regbench.errors import DataError, UsageError
from regbench.results.layout import RESULT, WEIGHTS
from regbench.results.pairs import read_pairs
from regbench.runs import finished
from regbench.runs.execute import execute
from regbench.runs.finished import open_run
from regbench.runs.plan import make_plan
from regbench.weights.files import load_weights
from tests.runs.place import TRAINED, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Finished runs: ``judged`` with given weights, ``trained``."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(folder / "packs"))
        made = Place(folder).fill()
        made.judged, made.trained = made.run()[0], made.run(**TRAINED)[0]
        yield made


@pytest.fixture
def patch_of(place):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 64, 64, generator=generator) for _ in range(2)]


def answer(network, images) -> torch.Tensor:
    with torch.no_grad():
        return network.eval().register(*images).displacement


def test_a_run_judged_with_given_weights_has_them(place, patch_of):
    """Not those of a fresh network, which it came back with once."""
    opened = open_run(place.judged.folder)
    given = finished.RunContext(opened.info, torch.device("cpu"), opened.components, 5).registrator()
    fresh = answer(given, patch_of)
    load_weights(given, place.weights)
    assert torch.equal(answer(opened.registrator, patch_of), answer(given, patch_of))
    assert (fresh - answer(given, patch_of)).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["judged", "trained"])
def test_it_comes_to_the_same_errors_again(place, kind, monkeypatch):
    """Register, teacher, export and transfer all open a run the same way."""
    plan = getattr(place, kind)
    before = read_pairs(plan.folder / "pairs.h5")
    source, target = plan_images(plan)
    opened = open_run(plan.folder).registrator
    torch.testing.assert_close(
        answer(opened, (source, target)), torch.from_numpy(before.estimate[: len(source)]), atol=1e-4, rtol=1e-5
    )
    found = method_of(plan.folder).find(*(x[0].permute(1, 2, 0).numpy() for x in (source, target)))
    one = found.homography
    both = opened.register(source[:1], target[:1]).homography[0].detach().numpy()
    assert abs(one - both).max() < 1e-9
    taught = place.plan(**TRAINED | {"strategy": "sshnet-d", "teacher": plan.folder}, sets={"strategy": {"steps": 2}})
    assert torch.equal(answer(taught.context.given_teacher, (source, target)), answer(opened, (source, target)))


def plan_images(plan):
    from regbench.data.test_pairs import TestPairs

    return TestPairs(plan.pack, plan.manifest, plan.protocol).images(0, 4)


@pytest.mark.parametrize("kind", ["judged", "trained"])
def test_a_transferred_run_opens_too(place, kind, patch_of):
    plan = place.transfer(getattr(place, kind).folder)
    assert execute(plan).status == "ok"
    first, again = open_run(getattr(place, kind).folder), open_run(plan.folder)
    assert again.info == first.info
    assert torch.equal(answer(again.registrator, patch_of), answer(first.registrator, patch_of))


def test_export_writes_the_network_that_was_judged(place, tmp_path, patch_of):
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from regbench.tools.onnx_export import export_onnx

    export_onnx(str(place.judged.folder), tmp_path / "net.onnx")
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    found, _ = session.run(None, {"source": patch_of[0].numpy(), "target": patch_of[1].numpy()})
    network = open_run(place.judged.folder).registrator
    torch.testing.assert_close(torch.from_numpy(found), answer(network, patch_of), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", ["judged", "trained"])
@pytest.mark.parametrize(
    ("mischief", "message"),
    [
        ("others", "holds other weights than the run was judged with"),
        ("bit", "is damaged or was edited"),
        ("absent", "no such file"),
        ("of another run", "holds weights of run"),
    ],
)
def test_weights_that_do_not_match_are_refused(place, kind, tmp_path, mischief, message):
    folder = shutil.copytree(getattr(place, kind).folder, tmp_path / "run")
    path = folder / WEIGHTS
    if mischief == "others":
        other = place.judged if kind == "trained" else place.trained
        shutil.copyfile(other.folder / WEIGHTS, path)
    elif mischief == "bit":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif mischief == "absent":
        path.unlink()
    else:  # as an earlier regbench left it, without the hash
        record = json.loads((folder / RESULT).read_text())
        record["weights_sha256"] = None
        (folder / RESULT).write_text(json.dumps(record))
        other = place.judged if kind == "trained" else place.trained
        shutil.copyfile(other.folder / WEIGHTS, path)
    with pytest.raises(DataError, match=message):
        open_run(folder)
    with pytest.raises(DataError, match=message):
        place.transfer(folder)
    with pytest.raises(DataError, match=message):
        method_of(folder)


def test_what_learned_nothing_keeps_nothing(place):
    plan, result = place.run(registrator="identity", weights=None, sets={"registrator": {}})
    assert result.weights_sha256 is None
    assert not (plan.folder / WEIGHTS).exists()
    assert open_run(plan.folder).run_id == plan.run_id


def test_an_own_result_is_needed(place, tmp_path):
    """A result of another run in the folder is no result of this one."""
    plan = place.plan(seed=7)
    plan.folder.mkdir()
    shutil.copyfile(place.judged.folder / RESULT, plan.folder / RESULT)
    with pytest.raises(DataError, match=f"is of run {place.judged.run_id}, not of {plan.run_id}"):
        execute(plan)
    assert execute(plan, force=True).run_id == plan.run_id


def test_another_version_of_the_code(place, monkeypatch):
    """It may compute other numbers: another id where the run is judged again, and no teacher."""
    ours = place.transfer(place.trained.folder).run_id
    real = finished._configured

    def newer(role, recorded, path):
        configured = real(role, recorded, path)
        if configured is None:
            return None
        component = replace(configured.component, version="99")
        return replace(configured, component=component)

    monkeypatch.setattr(finished, "_configured", newer)
    assert place.transfer(place.trained.folder).run_id != ours
    taught = place.request(**TRAINED | {"strategy": "sshnet-d", "teacher": place.trained.folder})
    with pytest.raises(UsageError, match=r"was made with dhn .*installed: 99"):
        make_plan(taught)


def test_the_kept_file_is_a_weights_file(place):
    assert load_file(place.judged.folder / WEIGHTS).keys() == load_file(place.weights).keys()
    plan = place.plan(weights=place.trained.folder / WEIGHTS)
    assert plan.identity.supervision == "homography"
