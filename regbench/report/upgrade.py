"""Brings committed results to the present metric version."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regbench.errors import DataError
from regbench.metrics import METRIC_VERSION
from regbench.report.leaderboard import boards
from regbench.report.trust import records_in
from regbench.results import load_result, read_pairs, write_json
from regbench.results.remeasure import remeasure


def upgrade(root: Path, names: Iterable[str] = ()) -> tuple[list[Path], list[str]]:
    """Compute metrics, intervals and verdicts of committed results again from their pairs.

    Run ids, and so file names and ancestors, stay: the metric version decides no estimate. A result that is of the
    present version is left alone, so a second call changes nothing.

    Args:
        root: folder of the leaderboards.
        names: names of boards; empty for all.

    Returns:
        The files that were written; then a line for each result that had to be left as it is, and why. The page shows
        such a result as stale.

    Raises:
        DataError: a file is broken. Nothing is written then.
    """
    records: dict[Path, dict[str, Any]] = {}
    left = []
    for name in boards(root, names):
        for path in records_in(root / "results" / name):
            result = load_result(path, committed=True)
            if result.identity.metric_version >= METRIC_VERSION:
                continue
            pairs = read_pairs(path.with_suffix(".pairs.h5")) if result.status == "ok" else None
            try:
                records[path] = remeasure(json.loads(path.read_text(encoding="utf-8")), pairs)
            except DataError as error:
                left.append(f"{name}: {error}")
    for path, record in records.items():
        write_json(path, record)
    return list(records), left
