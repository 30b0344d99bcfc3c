"""Damage has one way out: the same command makes again what can be made, and says --force where training is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regbench.errors import DataError, InterruptedRun
from regbench.results.layout import CHECKPOINT, CONFIG, CURVE, HEALTH, LOG, PAIRS, RESULT, WEIGHTS
from regbench.results.pairs import read_pairs, write_pairs
from regbench.runs.execute import execute
from regbench.training.trainer import Trainer
from regbench.weights.files import read_tensors, write_tensors
from tests.runs.place import TRAINED, Place


def flip(path: Path, share: float = 0.9) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 4
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
    "flipped": flip,
    "garbage": lambda path: path.write_bytes(b"\x00\xff" * 500),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished run, ``trained``, and its result."""
    folder = tmp_path_factory.mktemp("damage") / "made"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REGBENCH_DATA", str(folder / "packs"))
        made = Place(folder).fill()
        made.trained, made.result = made.run(**TRAINED)
        yield made


@pytest.fixture
def again(place, monkeypatch):
    """The finished run, put back as it was; and the same command, which must not train."""
    kept = place.folder.with_name("kept")
    if not kept.exists():
        shutil.copytree(place.trained.folder, kept)
    shutil.rmtree(place.trained.folder)
    shutil.copytree(kept, place.trained.folder)

    def no_step(*_, **__):
        raise AssertionError("it trains again")

    monkeypatch.setattr(Trainer, "_step", no_step)

    def run():
        result = execute(place.plan(**TRAINED))
        whole = execute(place.plan(**TRAINED))  # what was made again is whole
        assert whole == result
        return result

    return run


def same(place, result) -> None:
    assert result.status == "ok"
    assert result.metrics == place.result.metrics
    kept = place.folder.with_name("kept") / WEIGHTS
    for was, now in zip(
        read_tensors(kept)[0].items(), read_tensors(place.trained.folder / WEIGHTS)[0].items(), strict=True
    ):
        assert was[0] == now[0]
        assert torch.equal(was[1], now[1])
    for name in ("deploys", "health", "stages", "seconds"):
        assert result.training[name] == place.result.training[name], name


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "files",
    [[RESULT], [PAIRS], [WEIGHTS], [CONFIG], [RESULT, PAIRS], [RESULT, WEIGHTS], [RESULT, CHECKPOINT],
     [PAIRS, CHECKPOINT], [RESULT, HEALTH], [RESULT, "deploys"], [RESULT, PAIRS, "deploys", HEALTH, LOG, CURVE]],
    ids="+".join,
)  # fmt: skip
def test_what_can_be_made_again_is(place, again, files, damage):
    for name in files:
        paths = list((place.trained.folder / name).iterdir()) if name == "deploys" else [place.trained.folder / name]
        for path in paths:
            DAMAGES[damage](path)
    same(place, again())


@pytest.mark.parametrize("damage", DAMAGES)
def test_training_that_is_lost_asks_for_force(place, again, damage, monkeypatch):
    folder = place.trained.folder
    for name in (WEIGHTS, CHECKPOINT):
        DAMAGES[damage](folder / name)
    before = (folder / RESULT).read_bytes()
    with pytest.raises(DataError, match=r"lost.*add --force") as error:
        execute(place.plan(**TRAINED))
    assert str(folder) in str(error.value)
    assert (folder / RESULT).read_bytes() == before  # the numbers stay
    monkeypatch.undo()
    monkeypatch.setenv("REGBENCH_DATA", str(place.folder / "packs"))
    same(place, _without_times(place, execute(place.plan(**TRAINED), force=True)))


def _without_times(place, result):
    """Seconds of another training are other seconds."""
    training = result.training | {name: place.result.training[name] for name in ("stages", "seconds")}
    return result.model_copy(update={"training": training})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": '{"stage": -1, "step": 0, "seconds": 0, "stage_seconds": {}}'}, "does not say where its run stands"),
        ({"state": '{"stage": 0, "step": 10000, "seconds": 0, "stage_seconds": {}}'}, "which this run does not have"),
        ({"state": '{"stage": 0}', "optimiser_scalars": "x"}, "does not say where its run stands"),
        ({"state": '{"stages": 0}'}, "does not say where its run stands"),
        ({"version": "9"}, "of version 9"),
        ({"run_id": "0" * 12}, "made with run id 000000000000"),
    ],
)
def test_a_checkpoint_that_says_what_cannot_be(place, again, change, words):
    folder = place.trained.folder
    for name in (RESULT, WEIGHTS):
        (folder / name).unlink()
    tensors, metadata = read_tensors(folder / CHECKPOINT)
    write_tensors(folder / CHECKPOINT, tensors, metadata | change)
    with pytest.raises(DataError, match=words) as error:
        execute(place.plan(**TRAINED))
    assert "--force" in str(error.value)


def test_estimates_of_other_weights_are_not_taken_for_the_runs_own(place, again):
    """Deploys edited to the truth once gave an error of zero."""
    folder = place.trained.folder
    (folder / RESULT).unlink()
    (path,) = (folder / "deploys").iterdir()
    pairs = read_pairs(path)
    write_pairs(
        path, replace(pairs, estimate=pairs.displacement, error=0 * pairs.error), {"run_id": place.result.run_id}
    )
    same(place, again())


def test_pairs_of_another_run_are_made_again(place, again):
    other, _ = place.run()
    shutil.copyfile(other.folder / PAIRS, place.trained.folder / PAIRS)
    same(place, again())


def test_a_newer_result_is_left_alone(place, again):
    path = place.trained.folder / RESULT
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(DataError, match="upgrade"):
        again()
    assert json.loads(path.read_text())["schema_version"] == 99


def test_an_interrupt_while_it_is_judged_keeps_the_training(place, again, monkeypatch):
    folder = place.trained.folder
    for name in (RESULT, PAIRS):
        (folder / name).unlink()
    with monkeypatch.context() as patched:
        patched.setattr("regbench.runs.outcome._judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(InterruptedRun, match="same command"):
            execute(place.plan(**TRAINED))
    record = json.loads((folder / RESULT).read_text())
    assert (record["status"], record["reason"]) == ("interrupted", "interrupted outside of training")
    same(place, again())


def test_a_finished_run_on_a_disk_that_cannot_be_written_is_shown(place, again, monkeypatch):
    def refused(path, *_, **__):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("os.replace", refused)
    monkeypatch.setattr("regbench.locks.os.open", refused, raising=False)
    assert again() == place.result
