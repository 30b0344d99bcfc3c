"""Reading of runs that are named on a command line: run directories, or results committed to a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regbench.errors import DataError, UsageError
from regbench.report.board import BoardRow, Section, StoredRun, sections_of
from regbench.results import load_result, read_pairs
from regbench.results.layout import PAIRS, RESULT


def load_run(path: Path) -> StoredRun:
    """Read a finished run.

    Args:
        path: a run directory, or ``<run_id>.json`` of a board with its ``<run_id>.pairs.h5`` beside it.

    Raises:
        DataError: there is no finished run, or a file of it is broken.
    """
    if path.is_dir():
        if not (path / RESULT).is_file():
            raise DataError(
                f"{path} holds no {RESULT}; name the directory of a finished run or a board's <run_id>.json"
            )
        result, stored = load_result(path / RESULT), path / PAIRS
    else:
        result, stored = load_result(path, committed=True), path.with_suffix(".pairs.h5")
    if result.status != "ok":
        raise DataError(f"{path}: this run is {result.status} ({result.reason}); it has no test pairs")
    return StoredRun(result, read_pairs(stored))


def load_sections(paths: Sequence[Path]) -> dict[Section, list[BoardRow]]:
    """Finished runs as rows by section; runs that differ in seeds alone are one row."""
    return sections_of([load_run(path) for path in dict.fromkeys(paths)])


def load_section(paths: Sequence[Path]) -> tuple[Section, list[BoardRow]]:
    """The only section of runs that were judged on the same test pairs, with its rows.

    Raises:
        UsageError: the runs were judged on several sets of test pairs.
    """
    sections = load_sections(paths)
    if len(sections) != 1:
        listed = "; ".join(f"{section.dataset}, manifest {section.manifest[:12]}" for section in sections)
        raise UsageError(f"these runs were judged on different test pairs ({listed}); name runs of one of them")
    return next(iter(sections.items()))
