"""Stages that several runs have in common are trained once.

Runs of a grid that differ in their registrator begin by training the same translator on the same data. The leading
stages of a run that touch nothing but translators are decided by the settings of translator and strategy, the data, the
protocol, the seed, and by what computes them; the hash of all of that names a file with the translators' weights after
each such stage. A run that finds the file takes the weights and goes on: the same numbers come out, and the seconds
somebody else spent count as its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.errors import DataError
from regbench.weights.checkpoint import load_modules, module_tensors, read_tensors, write_tensors


class SharedStages:
    """A folder of finished stages.

    Args:
        folder: where they are kept; made when the first one is.
        basis: everything that decides what the stages do, as JSON, except the stages themselves.
        stages: all stages of the run.
        modules: all modules of the run.
    """

    def __init__(
        self, folder: Path, basis: Mapping[str, Any], stages: Sequence[Stage], modules: Mapping[str, nn.Module]
    ) -> None:
        self.folder = folder
        self.modules = {name: module for name, module in modules.items() if isinstance(module, Translator)}
        self.keys: list[str] = []
        """Of the run's leading stages that can be shared."""
        chain = json.dumps(basis, sort_keys=True)
        for stage in stages:
            if stage.deploys or not {name.partition(".")[0] for name in stage.modules} <= set(self.modules):
                break  # it depends on more than translators, and so does everything after it
            chain = f"{chain}|{stage.name},{stage.steps},{stage.batch},{stage.views},{stage.updated},{stage.train}"
            self.keys.append(hashlib.sha256(chain.encode()).hexdigest()[:20])

    def restore(self, number: int) -> float | None:
        """Load what stage ``number`` left, if somebody trained it; returns the seconds it took, else None."""
        if number >= len(self.keys) or not self._path(number).is_file():
            return None
        try:
            tensors, metadata = read_tensors(self._path(number))
        except DataError:
            return None  # damaged: train it, and keep the new one
        load_modules(self.modules, tensors, self._path(number))
        return float(metadata["seconds"])

    def keep(self, number: int, seconds: float) -> None:
        """Write what stage ``number`` left; nothing for stages that cannot be shared."""
        if number < len(self.keys):
            write_tensors(self._path(number), module_tensors(self.modules), {"seconds": repr(seconds)})

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.keys[number]}.safetensors"
