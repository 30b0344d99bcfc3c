"""Honest runs of a board, and edits after which everything follows that can be computed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regbench.metrics import summarise, verdict
from regbench.report import leaderboard
from regbench.results import Pairs, read_pairs, write_json, write_pairs
from regbench.results.layout import PAIRS, RESULT
from regbench.results.schema import run_id_of
from tests.report.made_up import component, identity_of, pairs_of, save_run


class Forger:
    """Runs of a board of one's own, and everything that is needed to change them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[Path] = []

    def take(self, name: str = "mcnet", pairs: Pairs | None = None, **changes: Any) -> Path:
        """An honest run to begin with."""
        identity = identity_of(name, **{"strategy": component("colreg"), "translator": component("mimgcd"), **changes})
        result = save_run(self.folder / "runs", identity, pairs or pairs_of(0.3, len(self.runs)))
        self.runs.append(self.folder / "runs" / result.run_id)
        return self.runs[-1]

    def change(self, run: Path, edit: Callable[[dict[str, Any]], object], pairs: Pairs | None = None) -> Path:
        """Edit a record and make everything follow that follows."""
        record = json.loads((run / RESULT).read_text())
        pairs = pairs or read_pairs(run / PAIRS)
        errors = pairs.errors
        record |= {"metrics": summarise(errors), "verdict": verdict(errors.scored.mean(), errors.identity.mean())}
        record["pairs_sha256"] = pairs.sha256
        edit(record)
        record["run_id"] = run_id_of(record["identity"])
        forged = run.with_name(record["run_id"])
        if forged != run:
            shutil.rmtree(forged, ignore_errors=True)
            run.rename(forged)
            self.runs[self.runs.index(run)] = forged
        write_pairs(forged / PAIRS, pairs, {"run_id": record["run_id"]})
        write_json(forged / RESULT, record)
        return forged

    def board(self) -> Path:
        """The board, its page built where it can be."""
        root = self.folder / "boards"
        results = root / "results" / "demo"
        results.mkdir(parents=True, exist_ok=True)
        for run in self.runs:  # as an editor does, without `leaderboard add`
            shutil.copyfile(run / RESULT, results / f"{run.name}.json")
            shutil.copyfile(run / PAIRS, results / f"{run.name}.pairs.h5")
        try:
            leaderboard.build(root)
        except Exception:
            return root
        return root
