"""Recompute a committed result from its run's weights: ``regbench leaderboard verify``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regbench.data.packs.format import Progress
from regbench.data.test_pairs import TestPairs
from regbench.errors import DataError, UsageError
from regbench.evaluation.evaluator import Evaluator
from regbench.metrics.corner import mace
from regbench.report.checks.drawn import LEAST_PAIRS
from regbench.report.leaderboard import boards
from regbench.report.trust import Mark, mark_of
from regbench.results.layout import RESULT
from regbench.results.pairs import Pairs, read_pairs
from regbench.results.provenance import collect
from regbench.results.schema import Result
from regbench.results.store import load_result, write_json
from regbench.runs.plan import transfer_plan
from regbench.runs.request import Request

CLOSE = 0.05
"""Px: estimates of a pair agree where no corner coordinate differs by more; other machines round otherwise."""
LEAST_AGREE = 0.98
"""Share of pairs that must agree. Methods that draw samples may decide a pair otherwise on another machine."""


@dataclass(frozen=True)
class Recomputed:
    """What came out."""

    mark: Path
    """The file that says so."""
    agree: float
    """Share of pairs whose estimates agree."""


def recompute(
    run: Path, root: Path, names: Sequence[str], request: Request, progress: Progress | None = None
) -> list[Recomputed]:
    """Estimate the test pairs of a board's result again with the weights of its run, and mark it as recomputed.

    Args:
        run: the run's directory, with its weights.
        root: folder of the leaderboards.
        names: of boards that hold its result; empty: all that do.
        request: data set (empty: that of the result), its folder and settings, and the device.
        progress: told how far the preparation of the data set is.

    Raises:
        UsageError: no board holds the run, or the data at hand do not give its test pairs.
        DataError: the run's weights are not there or others, or do not give the estimates of the board.
    """
    own = load_result(run / RESULT)
    committed = [
        path for name in boards(root, names) if (path := root / "results" / name / f"{own.run_id}.json").is_file()
    ]
    if not committed:
        where = " ".join(names) or str(root)
        raise UsageError(f"no board of {where} holds run {own.run_id}; add it first with `regbench leaderboard add`")
    again, provenance = _estimated(run, load_result(committed[0], committed=True), request, progress)
    return [_mark(path, run, again, own.weights_sha256, provenance) for path in committed]


def _estimated(run: Path, result: Result, request: Request, progress: Progress | None) -> tuple[Pairs, dict[str, Any]]:
    """The estimates of a run's weights on the test pairs of a result, and the provenance of the machine."""
    if result.status != "ok":
        raise UsageError(f"run {result.run_id} is {result.status}; it has no test pairs")
    test = result.identity.test_dataset
    asked = replace(
        request,
        dataset=request.dataset or test.name,
        sets={**request.sets, "protocol": {"source": result.identity.protocol.source}},
    )
    known = result.metrics["mace"].n or LEAST_PAIRS
    plan = transfer_plan(run, asked, progress, test_pairs=max(LEAST_PAIRS, known))
    if plan.manifest.sha256 != test.manifest_sha256:
        raise UsageError(
            f"{plan.pack.path} gives the test pairs {plan.manifest.sha256[:12]}, not {test.manifest_sha256[:12]} of "
            f"run {result.run_id}; name its data with --data and --set dataset.…"
        )
    evaluator = Evaluator(TestPairs(plan.pack, plan.manifest, plan.protocol, plan.context.device))
    return evaluator.pairs(plan.deployed), collect(device=plan.context.device.type)


def _mark(
    committed: Path, run: Path, again: Pairs, weights_sha256: str | None, provenance: dict[str, Any]
) -> Recomputed:
    """Compare with the pairs of a board, and mark its result."""
    result = load_result(committed, committed=True)
    stored = read_pairs(committed.with_suffix(".pairs.h5"), {"run_id": result.run_id})
    if result.weights_sha256 not in (None, weights_sha256):
        raise DataError(f"{committed}: names other weights than {run} holds; it is not recomputed")
    agree = agreement(stored, again)
    ours, theirs = mace(again.errors), mace(stored.errors)
    if agree < LEAST_AGREE or abs(ours - theirs) > max(0.02, 0.01 * theirs):
        raise DataError(
            f"{committed}: the weights of {run} agree with {100 * agree:.1f} % of its estimates and give MACE "
            f"{ours:.2f} px, not {theirs:.2f}; it is not recomputed"
        )
    mark = Mark(
        run_id=result.run_id,
        pairs_sha256=stored.sha256,
        weights_sha256=weights_sha256,
        agree=agree,
        mace=ours,
        provenance=provenance,
    )
    path = mark_of(committed)
    write_json(path, mark.model_dump(mode="json"))
    return Recomputed(path, agree)


def agreement(a: Pairs, b: Pairs) -> float:
    """Share of pairs on which two runs say the same: both fail, or estimates within :data:`CLOSE` px."""
    if len(a.ok) != len(b.ok):
        return 0.0
    with np.errstate(invalid="ignore"):
        near = np.abs(a.estimate.astype(float) - b.estimate.astype(float)).max((1, 2)) <= CLOSE
    failed = a.errors.failed, b.errors.failed
    return float(np.where(failed[0] | failed[1], failed[0] & failed[1], near).mean())
