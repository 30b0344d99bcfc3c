"""Runs named on a command line: a run directory, or a result committed to a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regbench.errors import DataError, UsageError
from regbench.report.board import Entry, Group, Row, rows_of
from regbench.results import load_result, read_pairs
from regbench.results.layout import PAIRS, RESULT


def load_entry(path: Path) -> Entry:
    """Open a finished run.

    Args:
        path: a run directory, or ``<run_id>.json`` of a board with its ``<run_id>.pairs.h5`` beside it.

    Raises:
        DataError: there is no finished run, or a file of it is broken.
    """
    if path.is_dir():
        if not (path / RESULT).is_file():
            raise DataError(f"{path}: no {RESULT}, so no finished run; name a run directory or a board's <run_id>.json")
        result, stored = load_result(path / RESULT), path / PAIRS
    else:
        result, stored = load_result(path, committed=True), path.with_suffix(".pairs.h5")
    if result.status != "ok":
        raise DataError(f"{path}: this run is {result.status} ({result.reason}); it has no test pairs")
    return Entry(result, read_pairs(stored))


def load_groups(paths: Sequence[Path]) -> dict[Group, list[Row]]:
    """Finished runs as rows, by their test pairs; runs that differ in seeds alone are one row."""
    return rows_of([load_entry(path) for path in dict.fromkeys(paths)])


def load_rows(paths: Sequence[Path]) -> tuple[Group, list[Row]]:
    """The rows of runs on one set of test pairs.

    Raises:
        UsageError: they were judged on several.
    """
    groups = load_groups(paths)
    if len(groups) != 1:
        told = "; ".join(f"{group.dataset}, manifest {group.manifest[:12]}" for group in groups)
        raise UsageError(f"these runs were judged on different test pairs ({told}); name runs of one of them")
    return next(iter(groups.items()))
