"""Scores of what stages deploy, taken while a run is trained: curves, and a comparison of the ends of its stages.

The scores are written to file alone; a strategy never sees them. The estimates at the end of every stage are kept
(``deploys/<stage>.<module>.h5``), so that a run says, with paired intervals, which of its stages helped (CoLReg,
Fig. 10).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regbench.api.stage import Stage
from regbench.errors import DataError
from regbench.evaluation.evaluator import Evaluator
from regbench.metrics.corner import mace
from regbench.metrics.summary import summarise
from regbench.metrics.uncertainty import compare
from regbench.results.layout import deployed_pairs
from regbench.results.pairs import Pairs, read_pairs, write_pairs
from regbench.weights.files import tensors_sha256

_log = logging.getLogger("regbench")


class StageScores:
    """Scores deployed modules for the trainer, and keeps the estimates at the end of each stage.

    Args:
        folder: of the run.
        evaluator: holds the test pairs.
        run_id: of the run.
    """

    def __init__(self, folder: Path, evaluator: Evaluator, run_id: str = "") -> None:
        self._folder, self._evaluator, self._run_id = folder, evaluator, run_id

    def __call__(self, module: nn.Module, name: str, end_of: str | None = None) -> dict[str, float]:
        """Judge a module.

        Args:
            module: a registrator.
            name: of the module in its stage.
            end_of: name of the stage whose end this is, where the estimates are kept; None within a stage.

        Returns:
            ``mace`` in px and ``mace_over_identity``; empty where there is no truth.
        """
        pairs = self._evaluator.pairs(module)
        if end_of is not None:
            write_pairs(deployed_pairs(self._folder, end_of, name), pairs, self._facts(end_of, module))
        if not _has_truth(pairs):
            return {}
        value, identity = mace(pairs.errors), float(pairs.errors.identity.mean())
        return {"mace": round(value, 6), "mace_over_identity": round(value / identity, 6)}

    def kept(self, stage: Stage, module: nn.Module) -> Pairs | None:
        """The estimates of ``module`` at the end of a stage that deployed it.

        None where there are none, or those there are of other weights or damaged: then they have to be made again.
        """
        for name, deployed in stage.deploys.items():
            if deployed is module:
                return self._read(stage.name, name, self._facts(stage.name, module))
        return None

    def summary(self, stages: Sequence[Stage]) -> list[dict[str, Any]]:
        """One entry for each module that a stage deployed, in order; empty where there is no truth.

        Each holds ``stage``, ``module``, ``mace`` and ``mace_over_identity`` with 95 % intervals over test images, and
        where there is such an entry ``minus_previous`` and ``minus_last``: the paired difference in MACE, px, with
        interval, from the entry before it and from the last one.
        """
        scored: list[tuple[str, str, Pairs]] = []
        for stage in stages:
            for name in stage.deploys:
                pairs = self._read(stage.name, name, self._facts(stage.name))
                if pairs is not None and _has_truth(pairs):
                    scored.append((stage.name, name, pairs))
        entries = []
        for i, (stage_name, name, pairs) in enumerate(scored):
            metrics = summarise(pairs.errors, {"mace": mace})
            entry: dict[str, Any] = {"stage": stage_name, "module": name}
            entry |= {metric: metrics[metric] for metric in ("mace", "mace_over_identity")}
            if i > 0:
                entry["minus_previous"] = _difference(pairs, scored[i - 1][2])
            if i + 1 < len(scored):
                entry["minus_last"] = _difference(pairs, scored[-1][2])
            entries.append(entry)
        return entries

    def _facts(self, stage: str, module: nn.Module | None = None) -> dict[str, str]:
        """What the file of a stage's estimates says of them; of which weights, where the module is given."""
        facts = {"run_id": self._run_id, "stage": stage}
        return facts if module is None else facts | {"weights_sha256": tensors_sha256(module.state_dict())}

    def _read(self, stage: str, name: str, facts: dict[str, str]) -> Pairs | None:
        path = deployed_pairs(self._folder, stage, name)
        if not path.is_file():
            return None
        try:
            return read_pairs(path, facts, bound=True)
        except DataError as error:
            _log.warning("%s; it is not used", str(error).rpartition(";")[0] or error)
            return None


def _has_truth(pairs: Pairs) -> bool:
    return bool(np.isfinite(pairs.identity_error).all())


def _difference(a: Pairs, b: Pairs) -> dict[str, Any]:
    value, interval, _ = compare(a.errors, b.errors)
    return {"value": value, "ci95": None if interval is None else list(interval)}
