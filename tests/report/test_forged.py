"""Boards forged with an editor: each forgery is a self-consistent record, and each is caught.

The forger knows the formats: run ids, hashes, metrics and intervals are computed again after every change. What is not
here no file decides; ``leaderboards/README.md`` names it.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from regbench.report import leaderboard
from regbench.results import Pairs, read_pairs, write_json, write_pairs
from regbench.results.layout import PAIRS, RESULT
from regbench.results.schema import run_id_of
from tests.report.forger import Forger
from tests.report.made_up import (
    MANIFEST,
    OTHER_PACK,
    PROVENANCE,
    component,
    identity_of,
    made_up_runs,
    pairs_of,
)


@pytest.fixture
def forger(tmp_path) -> Forger:
    return Forger(tmp_path)


def problems(forger: Forger) -> str:
    return "\n".join(leaderboard.check(forger.board()))


def test_an_honest_board_passes(forger):
    for seed in range(3):
        forger.take(seed=seed)
    forger.take("identity", pairs_of(-1, 0), strategy=None, translator=None, train_dataset=None)
    assert problems(forger) == ""


def subset(pairs: Pairs, keep: Any) -> Pairs:
    return Pairs.of(pairs.displacement[keep], pairs.estimate[keep], pairs.ok[keep], pairs.image[keep])


def moved(pairs: Pairs, displacement: Any) -> Pairs:
    return Pairs.of(displacement, pairs.estimate, pairs.ok, pairs.image)


def with_error(pairs: Pairs, **changes: Any) -> Pairs:
    from dataclasses import replace

    return replace(pairs, **changes)


def negative_of_failed(pairs: Pairs) -> Pairs:
    ok, error = pairs.ok.copy(), pairs.error.copy()
    ok[:10], error[:10] = False, -5.0
    return with_error(pairs, ok=ok, error=error)


def lost_error(pairs: Pairs) -> Pairs:
    error = pairs.error.copy()
    error[np.argsort(error)[-20:]] = np.nan
    return with_error(pairs, error=error)


def best_half(pairs: Pairs) -> Pairs:
    """The images on which the method is best, so often that there are 256 pairs again."""
    means = [pairs.error[pairs.image == i].mean() for i in range(32)]
    best = np.argsort(means)[:16]
    keep = np.flatnonzero(np.isin(pairs.image, best))
    return subset(pairs, np.concatenate([keep, keep]))


PAIRS_FORGED: dict[str, tuple[Callable[[Pairs], Pairs], str]] = {
    "the worst pairs dropped": (lambda p: subset(p, np.sort(np.argsort(p.error)[:-16])), "at least 256"),
    "the worst images dropped": (best_half, "holds other test pairs than synthetic gives"),
    "a pair put in place of another": (lambda p: subset(p, [*range(255), 0]), "holds other test pairs than"),
    "fewer than 256 pairs": (lambda p: subset(p, slice(0, 128)), "at least 256"),
    "offsets beyond rho": (lambda p: moved(p, p.displacement * 2), "not whole pixels within ±32 px"),
    "offsets of half a pixel": (lambda p: moved(p, p.displacement / 2), "not whole pixels within ±32 px"),
    "easier offsets": (lambda p: moved(p, np.trunc(p.displacement / 2)), "holds other test pairs than"),
    "offsets that fold": (
        lambda p: moved(p, np.where(np.arange(4)[:, None] == 0, 32, -32) + 0 * p.displacement),
        "holds displacements that fold the patch",
    ),
    "errors that are not of the estimates": (lambda p: with_error(p, error=p.error / 2), "do not follow"),
    "lost errors of answered pairs": (lost_error, "do not follow"),
    "negative errors of failed pairs": (negative_of_failed, "do not follow"),
    "identity errors": (lambda p: with_error(p, identity_error=p.identity_error * 2), "do not follow"),
    "other images": (lambda p: with_error(p, image=p.image[::-1].copy()), "its pack and its pairs give"),
}


@pytest.mark.parametrize("name", PAIRS_FORGED)
def test_forged_pairs(forger, name):
    """On a board of one run, where no other run can tell."""
    forge, message = PAIRS_FORGED[name]
    run = forger.take()
    forger.change(run, lambda _: None, forge(read_pairs(run / PAIRS)))
    assert message in problems(forger)


def identity(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["identity"].update(changes)


def settings(role: str, **config: Any) -> Callable[[dict[str, Any]], object]:
    """An installed component with settings that it does not take."""
    from regbench.plugins.registry import registry

    installed = registry().get(role, {"registrator": "mcnet", "strategy": "self-supervised"}[role])
    part = {"name": installed.name, "version": installed.version, "distribution": installed.distribution}

    def edit(record: dict[str, Any]) -> None:
        record["identity"][role] = part | {"config": config}
        record["provenance"]["distributions"][installed.distribution] = installed.version

    return edit


def command(*argv: str, **changes: Any) -> Callable[[dict[str, Any]], object]:
    def edit(record: dict[str, Any]) -> None:
        record["provenance"]["argv"] = ["regbench", *argv]
        record["identity"].update(changes)

    return edit


ANCESTOR = identity_of("mcnet", strategy=component("supervised"), supervision="homography", seed=9)
LIAR = identity_of("mcnet", strategy=component("supervised"), supervision="none", seed=9)
HONEST = identity_of("mcnet", strategy=component("colreg"), seed=9)
CHILD = identity_of("mcnet", strategy=component("colreg"), seed=8, ancestors=[run_id_of(ANCESTOR)])


def lineage(*held: Any, names: list[str] | None = None) -> Callable[[dict[str, Any]], object]:
    def edit(record: dict[str, Any]) -> None:
        known = {run_id_of(each): each.model_dump(mode="json") for each in held}
        record["identity"]["ancestors"] = [*known] if names is None else names
        record["lineage"] = known

    return edit


def weights(**told: Any) -> Callable[[dict[str, Any]], object]:
    def edit(record: dict[str, Any]) -> None:
        record["identity"]["registrator"]["weights_sha256"] = "d" * 64
        if told:
            record["training"]["weights"] = told

    return edit


def put(block: str, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record[block].update(values)


RECORDS_FORGED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a supervised strategy that says none": (
        identity(strategy=component("supervised"), translator=None), "the strategy supervised learns from them"),
    "a supervised ancestor that says none": (lineage(LIAR), "the strategy supervised learns from them"),
    "a supervised ancestor": (lineage(ANCESTOR), "its ancestor"),
    "an ancestor whose teacher saw labels": (lineage(CHILD, ANCESTOR, names=[run_id_of(CHILD)]), "did"),
    "an ancestor left out": (lineage(names=[run_id_of(ANCESTOR)]), "of which it holds no identity"),
    "the ancestor of an ancestor left out": (lineage(CHILD), "of which it holds no identity"),
    "an ancestor that is none": (lineage(names=["0" * 12]), "of which it holds no identity"),
    "junk for an ancestor": (lineage(names=["my teacher"]), "of which it holds no identity"),
    "an ancestor nobody named": (lineage(HONEST, names=[]), "is no ancestor of it"),
    "weights of unknown training": (weights(), "weights of unknown training"),
    "weights trained with labels": (weights(run_id=None, supervision="homography"), "weights of unknown training"),
    "weights of a run nobody knows": (weights(run_id="0" * 12, supervision="none"), "of which it holds no identity"),
    "a truth of tie points": (lambda r: r.update(truth="tie points"), "not with exact labels"),
    "a budget that is none": (identity(budget="huge"), "unknown budget"),
    "a budget of nothing": (identity(budget="-3"), "lies in (0, 100]"),
    "a seed that is none": (identity(seed=10**30), "is none"),
    "a negative seed": (identity(seed=-1), "is none"),
    "settings that the registrator refuses": (settings("registrator", scales=-4), "registrator mcnet"),
    "settings that there are not": (settings("registrator", cheats=True), "registrator mcnet"),
    "settings that the strategy refuses": (settings("strategy", steps="many"), "strategy self-supervised"),
    "a protocol that folds": (
        identity(protocol={"patch": 60, "rho": 32, "pairing": "frozen", "source": "A", "oversample": 10}), "can fold"),
    "pairs as given of an aligned set": (
        identity(protocol={"patch": 128, "rho": 32, "pairing": "given", "source": "A", "oversample": 10}),
        "which are aligned"),
    "a time below zero": (put("timing", register_ms=-1.0), "no time of a pair"),
    "a time of nothing": (put("timing", register_ms=0), "no time of a pair"),
    "a time in words": (put("timing", register_ms="fast"), "timing.register_ms"),
    "no time": (lambda r: r.update(timing={}), "no time of a pair"),
    "a spread of times below zero": (put("timing", register_ms_iqr=-1.0), "register_ms_iqr"),
    "parameters in words": (put("training", parameters="few"), "training.parameters"),
    "parameters below zero": (put("training", parameters=-1), "training.parameters"),
    "seconds below zero": (put("training", seconds=-1.0), "training.seconds"),
    "no seconds": (lambda r: r["training"].pop("seconds"), "training.seconds"),
    "memory in words": (put("training", peak_memory_mb="none"), "training.peak_memory_mb"),
    "stages in words": (put("training", stages="none"), "training.stages"),
    "a combination neither published nor not": (put("training", of_no_paper="no"), "of_no_paper"),
    "no provenance": (lambda r: r.update(provenance={}), "does not tell the command"),
    "a command that is none": (put("provenance", argv="regbench run"), "does not tell the command"),
    "a cpu that is a list": (put("provenance", cpu=["fast"]), "provenance.cpu"),
    "a gpu that is a word": (put("provenance", gpu="fast"), "provenance.gpu"),
    "a distribution that was not installed": (put("provenance", distributions={}), "which provenance does not list"),
    "code of others without a hash": (put("provenance", third_party={}), "code of others"),
    "another command's seed": (
        command("run", "--registrator", "mcnet", "--translator", "mimgcd", "--strategy", "colreg"),
        "its command says --seed 0, its identity 7"),
    "another command's method": (
        command("run", "--registrator", "dhn", "--seed=7", "--translator", "mimgcd", "--strategy", "colreg"),
        "its command says --registrator dhn"),
    "a command without the translator": (
        command("run", "--registrator", "mcnet", "--seed", "7", "--strategy", "colreg"),
        "its command says --translator none, its identity mimgcd"),
    "another command's budget": (
        command("run", "--registrator", "mcnet", "--seed", "7", "--budget", "full"), "its command says --budget full"),
    "a metric left out": (lambda r: r["metrics"].pop("auc@3"), "auc@3 is not what"),
    "a metric invented": (lambda r: r["metrics"].update(beauty={"value": 1.0}), "beauty is no metric"),
    "a metric improved": (lambda r: r["metrics"]["mace"].update(value=0.1), "mace is not what"),
    "an interval narrowed": (lambda r: r["metrics"]["mace"].update(ci95=[1.0, 1.1]), "mace is not what"),
    "a verdict": (lambda r: r.update(verdict="diverged"), "the verdict"),
    "metrics of a version there is not": (identity(metric_version=99), "metric version 99"),
    "wrong metrics of an earlier version": (
        lambda r: (r["identity"].update(metric_version=1), r["metrics"]["mace"].update(value=0.1)), "mace is not what"),
    "another hash of the test pairs": (
        identity(test_dataset={"name": "synthetic", "manifest_sha256": "e" * 64}), "but its pack and its pairs give"),
    "another pack": (
        identity(train_dataset={"name": "synthetic", "pack_sha256": OTHER_PACK}), "but its pack and its pairs give"),
    "another range": (
        identity(protocol={"patch": 128, "rho": 40, "pairing": "frozen", "source": "A", "oversample": 10}),
        "holds other test pairs than"),
    "another source": (
        identity(protocol={"patch": 128, "rho": 32, "pairing": "frozen", "source": "B", "oversample": 10}),
        "but its pack and its pairs give"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS_FORGED)
def test_forged_records(forger, name):
    edit, message = RECORDS_FORGED[name]
    forger.change(forger.take(seed=7), edit)
    assert message in problems(forger)


def test_one_run_copied_as_five_seeds(forger):
    pairs = pairs_of(0.3, 1)
    for seed in range(5):
        forger.take(pairs=pairs, seed=seed)
    assert problems(forger).count("a run of another seed, to the last bit") == 4


def test_seeds_of_a_method_that_is_not_trained_may_agree(forger):
    for seed in range(3):
        forger.take("sift", pairs_of(0.3, 1), strategy=None, translator=None, train_dataset=None, seed=seed)
    assert problems(forger) == ""


def test_no_majority_makes_honest_runs_stale(forger):
    """Nine runs under an invented hash beside three honest ones; nobody says which is current."""
    for seed in range(3):
        forger.take(seed=seed)
    other = {
        "test_dataset": {"name": "elsewhere", "manifest_sha256": "e" * 64},
        "train_dataset": {"name": "elsewhere", "pack_sha256": OTHER_PACK},
    }
    for seed in range(9):
        forger.take("dhn", seed=seed, **other)
    assert problems(forger) == ""  # another data set is another section
    mine = {"test_dataset": {"name": "elsewhere", "manifest_sha256": "f" * 64}, "train_dataset": None}
    forger.take("mhn", seed=1, **mine)
    found = problems(forger)
    assert "name different test pairs" in found
    assert "say in board.toml" in found
    page = leaderboard.render(forger.folder / "boards", "demo")
    assert "## Stale" not in page
    assert "Test manifest ffffffffffff" in page


def test_a_data_set_renamed_under_the_same_test_pairs(forger):
    forger.take()
    forger.take("dhn", test_dataset={"name": "mine", "manifest_sha256": MANIFEST})
    assert "cannot be those of several sets" in problems(forger)


def test_a_page_without_results(forger):
    forger.take()
    root = forger.board()
    (root / "best.md").write_text((root / "demo.md").read_text())
    assert f"{root / 'best.md'} belongs to no results" in "\n".join(leaderboard.check(root))
    (root / "best.md").write_text("# Notes of a person\n")
    assert leaderboard.check(root) == []


def test_pairs_of_another_run(forger):
    first, second = forger.take(seed=0), forger.take(seed=1)
    shutil.copyfile(first / PAIRS, second / PAIRS)
    assert f"holds pairs of run id {first.name}, not of {second.name}" in problems(forger)


def test_pairs_whose_record_names_others(forger):
    run = forger.take()
    write_pairs(run / PAIRS, pairs_of(0.1, 5), {"run_id": run.name})
    assert "does not hold the pairs that" in problems(forger)


def test_a_record_with_numbers_that_json_has_not(forger):
    run = forger.take()
    text = (run / RESULT).read_text().replace('"register_ms": 12.34', '"register_ms": NaN')
    (run / RESULT).write_text(text)
    assert "NaN is no JSON" in problems(forger)


def test_a_mark_of_other_numbers(forger):
    run = forger.take()
    root = forger.board()
    mark = {"run_id": run.name, "pairs_sha256": "a" * 64, "weights_sha256": None, "agree": 1.0, "mace": 1.0,
            "provenance": copy.deepcopy(PROVENANCE)}  # fmt: skip
    path = root / "results" / "demo" / f"{run.name}.recomputed.json"
    write_json(path, mark)
    assert "was made of other numbers than are here" in "\n".join(leaderboard.check(root))
    assert "| submitted |" in leaderboard.render(root, "demo")
    write_json(path, mark | {"pairs_sha256": read_pairs(run / PAIRS).sha256})
    leaderboard.build(root)
    assert leaderboard.check(root) == []
    assert "| recomputed |" in leaderboard.render(root, "demo")
    path.write_text("{}")
    assert "is no mark of a run" in "\n".join(leaderboard.check(root))
    path.unlink()
    path.with_name("0123456789ab.recomputed.json").write_text(json.dumps(mark | {"run_id": "0123456789ab"}))
    assert "belongs to no result" in "\n".join(leaderboard.check(root))


def test_the_made_up_runs_are_no_forgeries(forger):
    """Also one on other test pairs, once ``board.toml`` says which are current."""
    forger.runs = [forger.folder / "runs" / result.run_id for result in made_up_runs(forger.folder / "runs")]
    forger.runs = [run for run in forger.runs if (run / PAIRS).is_file()]
    results = forger.board() / "results" / "demo"
    assert "name different test pairs" in "\n".join(leaderboard.verify(results))
    (results / "board.toml").write_text(f'manifest_sha256 = ["{MANIFEST}"]\n')
    assert leaderboard.verify(results) == []


def test_a_protocol_that_draws_nothing_is_told(forger):
    """Its displacements are easy, so that nothing but the protocol itself is impossible."""
    run = forger.take()
    pairs = read_pairs(run / PAIRS)
    protocol = {"patch": 60, "rho": 32, "pairing": "frozen", "source": "A", "oversample": 10}
    forger.change(run, identity(protocol=protocol), moved(pairs, np.trunc(pairs.displacement / 8)))
    assert "can fold" in problems(forger)
