"""What finished and interrupted runs left is exchanged."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from regbench.report import leaderboard
from regbench.results.layout import CHECKPOINT, PAIRS, RESULT, WEIGHTS
from regbench.results.pairs import read_pairs, write_pairs
from regbench.runs import learning
from regbench.runs.execute import execute
from regbench.runs.learning import stage_cache_of
from regbench.training.checkpoint import read_checkpoint
from regbench.weights.files import read_metadata
from tests.runs.place import TRAINED
from tests.runs.ways.way import Way


def weights_of_a_finished_run(place):
    """Replaced, then judged on other data."""
    folder = place.plan(**TRAINED).folder
    shutil.copyfile(place.plan().folder / WEIGHTS, folder / WEIGHTS)
    return place.transfer(folder).run_id


def one_weight_of_a_finished_run(place):
    path = place.plan(**TRAINED).folder / WEIGHTS
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 1
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


def checkpoint_of(**other) -> Way:
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


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        weights_of_a_finished_run,
        one_weight_of_a_finished_run,
        weights_of_a_teacher,
        result_of_another_run,
        checkpoint_of_another_device,
        shared_stage_of_other_data,
        board_with_other_numbers,
    )
} | {
    "checkpoint_of_another_seed": checkpoint_of(seed=6),
    "checkpoint_of_another_strategy": checkpoint_of(strategy="self-supervised"),
    "checkpoint_of_another_precision": checkpoint_of(seed=5, precision="bf16"),
}

WEIGHTS_DIFFER = r"weights\.safetensors: holds other weights than the run was judged with"
CHECKPOINT_DIFFERS = r"checkpoint\.safetensors: was made with {}.*--force"
REFUSED = {
    "weights_of_a_finished_run": WEIGHTS_DIFFER,
    "one_weight_of_a_finished_run": WEIGHTS_DIFFER,
    "weights_of_a_teacher": WEIGHTS_DIFFER,
    "result_of_another_run": r"result\.json is of run \w+, not of \w+",
    "checkpoint_of_another_device": CHECKPOINT_DIFFERS.format("device cuda, this run has cpu"),
    "checkpoint_of_another_seed": CHECKPOINT_DIFFERS.format("run id"),
    "checkpoint_of_another_strategy": CHECKPOINT_DIFFERS.format("run id"),
    "checkpoint_of_another_precision": CHECKPOINT_DIFFERS.format("run id"),
    "board_with_other_numbers": r"holds other numbers under the id of .* --replace",
}
