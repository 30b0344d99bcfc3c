"""Taking runs away: a run directory and nothing else, and none that is needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from regbench.contained import refuse_link
from regbench.errors import UsageError
from regbench.locks import HeldError, locked
from regbench.results.layout import CONFIG, LOCK, RESULT
from regbench.results.store import find_runs, load_result


def check_removable(runs: Sequence[Path], *, force: bool = False) -> None:
    """Check that all of the runs may be deleted, before any is.

    Raises:
        UsageError: one is no run directory, or a run beside it learned from it and ``force`` is not set.
        DataError: one is a link.
    """
    chosen = {run.absolute() for run in runs}
    learned: dict[str, Path] = {}
    for folder in () if force else {run.parent for run in chosen}:
        for other in find_runs(folder):
            if other not in chosen:
                learned |= dict.fromkeys(load_result(other / RESULT).identity.ancestors, other)
    for run in runs:
        if not run.is_dir() or not ((run / RESULT).is_file() or (run / CONFIG).is_file()):
            raise UsageError(f"{run} is no run directory; nothing was deleted")
        refuse_link(run)
        if not force and (student := learned.get(_run_id(run))) is not None:
            raise UsageError(f"{student} learned from {run}; nothing was deleted. --force deletes it all the same")


def remove_run(run: Path) -> None:
    """Delete a run directory; raises UsageError where a process works on it."""
    try:
        with locked(run / LOCK, wait=False):
            shutil.rmtree(run)
    except HeldError:
        raise UsageError(f"{run}: a process works on this run; it was not deleted") from None


def _run_id(run: Path) -> str:
    if (run / RESULT).is_file():
        return load_result(run / RESULT).run_id
    return str(json.loads((run / CONFIG).read_text(encoding="utf-8")).get("run_id", ""))
