"""What stages deploy, judged while a run goes on: curves, and how each stage's end compares with the others.

Written to file only; nothing of it reaches a strategy. The estimates at the end of every stage are kept
(``deploys/<stage>.<module>.h5``): a run says which of its stages helped, with paired intervals (CoLReg, Fig. 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regbench.api.stage import Stage
from regbench.evaluation.evaluator import Evaluator
from regbench.metrics.corner import mace
from regbench.metrics.summary import summarise
from regbench.metrics.uncertainty import compare
from regbench.results.pairs import Pairs, read_pairs, write_pairs

FOLDER = "deploys"


class Deploys:
    """Scores modules for the trainer, and remembers those at the end of a stage.

    Args:
        folder: of the run.
        evaluator: holds the test pairs.
    """

    def __init__(self, folder: Path, evaluator: Evaluator) -> None:
        self._folder, self._evaluator = folder / FOLDER, evaluator

    def __call__(self, module: nn.Module, name: str, end_of: str | None = None) -> dict[str, float]:
        """MACE and its ratio to identity's (nothing where there is no truth).

        At the end of a stage, named ``end_of``, the estimates are kept.
        """
        pairs = self._evaluator.pairs(module)
        if end_of is not None:
            self._folder.mkdir(exist_ok=True)
            write_pairs(self._path(end_of, name), pairs)
        if not _judged(pairs):
            return {}
        value, identity = mace(pairs.errors), float(pairs.errors.identity.mean())
        return {"mace": round(value, 6), "mace_over_identity": round(value / identity, 6)}

    def kept(self, stage: Stage, module: nn.Module) -> Pairs | None:
        """What was estimated when a stage ended, if it deployed this module; else None."""
        for name, deployed in stage.deploys.items():
            if deployed is module and (path := self._path(stage.name, name)).is_file():
                return read_pairs(path)
        return None

    def summary(self, stages: Sequence[Stage]) -> list[dict[str, Any]]:
        """One entry for each module that a stage deployed, in order.

        Each holds ``stage``, ``module``, ``mace`` and ``mace_over_identity`` with intervals over test images, and
        ``minus_previous`` and ``minus_last``: paired differences in MACE, px, with interval, to the entry before it
        and to the last entry (where there is one). Empty where there is no truth.
        """
        found: list[tuple[str, str, Pairs]] = []
        for stage in stages:
            for name in stage.deploys:
                path = self._path(stage.name, name)
                if path.is_file() and _judged(pairs := read_pairs(path)):
                    found.append((stage.name, name, pairs))
        entries = []
        for i, (stage_name, name, pairs) in enumerate(found):
            metrics = summarise(pairs.errors, {"mace": mace})
            entry: dict[str, Any] = {"stage": stage_name, "module": name}
            entry |= {metric: metrics[metric] for metric in ("mace", "mace_over_identity")}
            if i > 0:
                entry["minus_previous"] = _difference(pairs, found[i - 1][2])
            if i + 1 < len(found):
                entry["minus_last"] = _difference(pairs, found[-1][2])
            entries.append(entry)
        return entries

    def _path(self, stage: str, module: str) -> Path:
        return self._folder / f"{stage}.{module}.h5"


def _judged(pairs: Pairs) -> bool:
    """Whether there is a truth they were compared with."""
    return bool(np.isfinite(pairs.identity_error).all())


def _difference(a: Pairs, b: Pairs) -> dict[str, Any]:
    value, interval, _ = compare(a.errors, b.errors)
    return {"value": value, "ci95": None if interval is None else list(interval)}
