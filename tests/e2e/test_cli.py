from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.e2e.command_line import SMOKE, TINY

COMMAND = ("run", "--registrator", "mcnet", "--strategy", "supervised", *SMOKE, "--json")


@pytest.fixture(scope="module")
def finished(regbench_once):
    """One run, for the tests of what it leaves behind."""
    done = regbench_once(*COMMAND)
    assert done.code == 0, done.err
    return done.json, next((regbench_once.folder / "runs").iterdir())


def test_run_writes_everything(finished):
    result, folder = finished
    for name in ("config.json", "result.json", "pairs.h5", "log.jsonl", "curve.jsonl", "weights.safetensors"):
        assert (folder / name).is_file(), name
    assert result["identity"]["supervision"] == "homography"
    assert result["metrics"]["mace"]["n"] >= 256
    assert result == json.loads((folder / "result.json").read_text())


def test_a_finished_run_is_not_repeated(finished, regbench_once):
    again = regbench_once(*COMMAND)
    assert again.code == 0
    assert "already done" in again.err
    assert again.json == finished[0]


def test_a_finished_run_of_an_earlier_metric_version_is_summarised_again(finished, regbench_once):
    """Not trained again, and its old intervals are not handed out."""
    result, folder = finished
    old = json.loads(json.dumps(result))
    old["identity"]["metric_version"] = 1
    old["metrics"]["mace"]["ci95"] = [0.0, 0.1]
    (folder / "result.json").write_text(json.dumps(old))
    weights = (folder / "weights.safetensors").stat().st_mtime_ns
    again = regbench_once(*COMMAND)
    assert again.code == 0, again.err
    for block in ("run_id", "identity", "metrics", "verdict", "timing"):
        assert again.json[block] == result[block]
    assert (folder / "weights.safetensors").stat().st_mtime_ns == weights
    (folder / "result.json").write_text(json.dumps(result))


@pytest.mark.slow
def test_a_finished_run_is_judged_again_elsewhere_and_registers_files(regbench):
    assert regbench("run", "--registrator", "mcnet", "--strategy", "self-supervised", *SMOKE, "-q").code == 0
    folder = next((regbench.folder / "runs").iterdir())
    moved = regbench("evaluate", "--run", str(folder), *TINY, "--set", "dataset.b=nir", "--json", "-q")
    assert moved.code == 0, moved.err
    original = json.loads((folder / "result.json").read_text())
    assert moved.json["identity"]["ancestors"] == [original["run_id"]]
    assert moved.json["lineage"] == {original["run_id"]: original["identity"]}
    assert moved.json["identity"]["supervision"] == "none"
    for name, size in (("a.png", (80, 100, 3)), ("b.png", (120, 90, 3))):
        cv2.imwrite(str(regbench.folder / name), np.random.RandomState(0).randint(0, 255, size, np.uint8))
    found = regbench("register", "a.png", "b.png", "--run", str(folder), "--overlay", "seen.png", "--json")
    assert found.code == 0, found.err
    assert np.shape(found.json["homography"]) == (3, 3)
    assert (regbench.folder / "seen.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["run", "--registrator", "mcnte", "--strategy", "supervised"], 2, "did you mean 'mcnet'"),
        (["run", "--registrator", "mcnet", "--strategy", "supervised", "--set", "registrator.scale=4"], 2,
         "did you mean 'scales'"),
        (["run", "--registrator", "mcnet", "--strategy", "supervised", "--set", "strategy.steps=many"], 2, "steps"),
        (["run", "--registrator", "sift", "--strategy", "supervised"], 2, "needs a registrator with train"),
        (["run", "--registrator", "mcnet"], 2, "has to be trained"),
        (["run", "--registrator", "mcnet", "--strategy", "colreg", "--translator", "copy-target", "--budget", "smoke"],
         2, "use --set strategy.rounds=1"),
        (["run", "--registrator", "sift", "--strategy", "cudhn"], 2, "needs a registrator with features and train"),
        (["run", "--registrator", "identity", "--pairing", "online", "--set", "protocol.frozen_augment=sync_flip_rot"],
         2, "online pairs are new at every visit"),
        (["run", "--registrator", "identity", "--translator", "identity"], 2, "nothing uses a translator"),
        (["run", "--registrator", "identity", "--budget", "quik"], 2, "did you mean 'quick'"),
        (["run", "--registrator", "identity", "--device", "cuda:7"], 2, "CUDA devices are here"),
        (["run", "--registrator", "identity", "--dataset", "vedai", "--root", "nowhere"], 1, "nowhere"),
        (["run", "--registrator", "identity", "--pairing", "given"], 2, "aligned pairs"),
        (["evaluate", "--registrator", "mcnet", "--weights", "none.safetensors", "--budget", "quick"], 1,
         "none.safetensors"),
        (["evaluate", "--run", "none"], 1, "no result.json"),
        (["run", "--registrator", "mcnet", "--strategy", "sshnet-d"], 2, "add --teacher RUN"),
        (["run", "--registrator", "mcnet", "--strategy", "sshnet-d", "--teacher", "none"], 1, "no result.json"),
        (["run", "--registrator", "dhn", "--strategy", "sshnet", "--translator", "unet"], 2, "strategy.corr=none"),
        (["run", "--registrator", "mcnet", "--strategy", "sshnet", "--translator", "copy-target"], 2,
         "needs a translator with differentiable"),
        (["run", "--registrator", "mcnet", "--strategy", "dfmir", "--translator", "mimgcd"], 2,
         "dfmir needs a translator with features"),
        (["run", "--registrator", "identity", "--set", "protocol.patch=200"], 2, "too small"),
        (["runn"], 2, "did you mean 'run'"),
    ],
    ids=lambda value: " ".join(value[:5]) if isinstance(value, list) else None,
)  # fmt: skip
def test_bad_input_is_one_line_with_the_right_exit_code(inline, args, code, said):
    done = inline(*args, *(TINY if args[0] in ("run", "evaluate") and "vedai" not in args else []))
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert "Traceback" not in done.err


def test_a_plugin_that_breaks_in_the_middle_is_a_failed_row(regbench):
    inject = "import regbench_matchers.sift as s\ndef b(*a): raise RuntimeError('boom')\ns.SIFT._estimate = b"
    done = regbench("evaluate", "--registrator", "sift", "--budget", "quick", *TINY, "-q", inject=inject)
    assert done.code == 1
    assert "boom" in done.err
    result = json.loads(next((regbench.folder / "runs").glob("*/result.json")).read_text())
    assert result["status"] == "failed"
    assert "boom" in result["reason"]
