"""Two runs, paired: against formulas by hand, and no order where the interval holds zero."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from regbench.cli.compare import command
from regbench.errors import DataError, UsageError
from regbench.report.board import StoredRun
from regbench.report.compare import compare_runs
from regbench.report.inputs import load_run, load_section
from regbench.results import Pairs
from tests.report.made_up import component, identity_of, pairs_of, save_run


def entry(spread: float, noise: int, **changes) -> StoredRun:
    identity = identity_of("mcnet", strategy=component("colreg", noise=noise), **changes)
    return StoredRun(result_of(identity), pairs_of(spread, noise))


def result_of(identity):
    from regbench.results import Result, run_id_of

    return Result(run_id=run_id_of(identity), status="failed", reason="its pairs are made up", identity=identity)


def test_numbers_by_hand():
    a, b = entry(0.30, 1), entry(0.10, 2)
    comparison = compare_runs(a, b, largest=3)
    excess = a.pairs.errors.scored - b.pairs.errors.scored
    images = excess.reshape(8, 32).mean(axis=0)
    assert comparison.difference == pytest.approx(excess.mean())
    assert comparison.effect == pytest.approx(images.mean() / images.std(ddof=1))
    assert comparison.nearer == pytest.approx(100 * np.mean((excess < 0) + (excess == 0) / 2))
    assert comparison.interval[0] < excess.mean() < comparison.interval[1]
    assert [abs(d.a - d.b) for d in comparison.largest] == pytest.approx(sorted(abs(excess))[:-4:-1])
    assert (comparison.pairs, comparison.images) == (256, 32)


def test_an_order_is_claimed_where_it_is_and_from_either_side():
    a, b = entry(0.30, 1), entry(0.10, 2)
    comparison, turned = compare_runs(a, b), compare_runs(b, a)
    assert comparison.separated
    assert turned.separated
    assert comparison.statement.startswith("B is better by ")
    assert turned.statement.startswith("A is better by ")
    assert turned.effect == pytest.approx(-comparison.effect)
    assert turned.nearer == pytest.approx(100 - comparison.nearer)


def test_no_order_is_claimed_where_there_is_none():
    alike = compare_runs(entry(0.30, 1), entry(0.30, 2))
    assert alike.interval[0] < 0 < alike.interval[1]
    assert not alike.separated
    assert alike.statement.startswith("Not separated: ")
    assert "better" not in alike.statement
    same = compare_runs(entry(0.30, 1), entry(0.30, 1))
    assert (same.difference, same.p, same.effect, same.nearer) == (0.0, 1.0, None, 50.0)


def test_too_few_images_order_nothing():
    """Twelve images of runs that are far apart: no interval, no order, and the reason."""
    few = [StoredRun(run.result, of_images(run.pairs, 12)) for run in (entry(0.30, 1), entry(0.10, 2))]
    comparison = compare_runs(*few)
    assert comparison.interval is None
    assert not comparison.separated
    assert comparison.statement.endswith("px (no interval: 12 independent images; fewer than 28).")


def test_a_small_lead_that_unseen_failures_would_take_is_not_claimed():
    """On 32 images, 9 % may be of a kind not seen; doing nothing there costs 15 px x 0.09, more than the lead."""
    b = entry(0.40, 1)
    nearer = b.pairs.estimate + 0.03 * (b.pairs.displacement - b.pairs.estimate)
    a = StoredRun(b.result, Pairs.of(b.pairs.displacement, nearer, b.pairs.ok, b.pairs.image))
    comparison = compare_runs(a, b)
    assert comparison.p < 0.001
    assert comparison.interval[1] < 0
    assert not comparison.lasting
    assert not comparison.separated


def of_images(pairs: Pairs, count: int) -> Pairs:
    """The same pairs, said to come from ``count`` images."""
    return Pairs.of(pairs.displacement, pairs.estimate, pairs.ok, np.arange(len(pairs.ok)) % count)


def first_pairs(pairs: Pairs, count: int) -> Pairs:
    return Pairs.of(*(values[:count] for values in (pairs.displacement, pairs.estimate, pairs.ok, pairs.image)))


def test_other_test_pairs_are_refused():
    a, b = entry(0.3, 1), entry(0.3, 2, test_dataset={"name": "synthetic", "manifest_sha256": "c" * 64})
    with pytest.raises(UsageError, match="not judged on the same test pairs"):
        compare_runs(a, b)
    pairs = a.pairs
    moved = StoredRun(a.result, Pairs.of(pairs.displacement + 1, pairs.estimate, pairs.ok, pairs.image))
    with pytest.raises(UsageError, match="not judged on the same test pairs"):
        compare_runs(a, moved)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("two")
    saved = [
        save_run(folder, identity_of("mcnet", strategy=component("colreg")), pairs_of(0.3, 1)),
        save_run(folder, identity_of("identity", train_dataset=None), pairs_of(-1, 0)),
    ]
    return [folder / result.run_id for result in saved]


def test_command_line(two):
    said = CliRunner().invoke(command, [*map(str, two), "--pairs", "2"], catch_exceptions=False).output
    assert "A is better by " in said
    assert said.count("  pair ") == 2
    comparison = json.loads(CliRunner().invoke(command, [*map(str, two), "--json"]).output)
    assert comparison["separated"] is True
    assert len(comparison["largest"]) == 6


def test_runs_are_directories_or_committed_results(two, template):
    committed = next((template / "results" / "demo").glob("*.json"))
    assert load_run(two[0]).pairs is not None
    assert load_section([two[0], two[0]])[1][0].finished[0].result.run_id == two[0].name
    assert load_run(committed).result.run_id == committed.stem


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "cannot be read"), (".", "no result.json"), ("failed", "this run is failed")],
)
def test_what_is_no_finished_run(tmp_path, path, message):
    if path == "failed":
        result = save_run(tmp_path, identity_of("mcnet"), None, "out of memory")
        path = result.run_id
    with pytest.raises(DataError, match=message):
        load_run(tmp_path / path)
