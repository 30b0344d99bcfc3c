"""A cache of trained stages, for stages that several runs have in common.

Runs of a grid that differ in their registrator all begin by training the same translator on the same data. What a
leading stage that touches translators alone computes is decided by the settings of translator and strategy, the data,
the protocol, the seed, and the machine's software. A hash of all of that names a file with the translators' weights
after the stage. A run that finds the file loads it instead of training: the same numbers come out, and the seconds the
training took elsewhere count as its own.
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
from regbench.weights.files import load_modules, module_tensors, read_tensors, write_tensors


class StageCache:
    """A folder of trained stages.

    Args:
        folder: where the files lie; made when the first one is written.
        basis: everything that decides what the stages compute, as JSON, except the stages themselves.
        stages: all stages of the run.
        modules: all modules of the run.
    """

    def __init__(
        self, folder: Path, basis: Mapping[str, Any], stages: Sequence[Stage], modules: Mapping[str, nn.Module]
    ) -> None:
        self.folder = folder
        self.translators = {name: module for name, module in modules.items() if isinstance(module, Translator)}
        self.keys: list[str] = []
        """Names of the files of the run's leading stages that can be cached."""
        chain = json.dumps(basis, sort_keys=True)
        for stage in stages:
            if stage.deploys or not {name.partition(".")[0] for name in stage.modules} <= set(self.translators):
                break  # it depends on more than translators, and so does every stage after it
            chain = f"{chain}|{stage.name},{stage.steps},{stage.batch},{stage.views},{stage.updated},{stage.train}"
            if stage.repeat_pairs is not None:
                chain += f",{stage.repeat_pairs}"
            self.keys.append(hashlib.sha256(chain.encode()).hexdigest()[:20])

    def load(self, number: int) -> float | None:
        """Load the translators as stage ``number`` left them.

        Returns:
            The seconds its training took; None where it is not in the cache, or the file is damaged.
        """
        if number >= len(self.keys) or not self._path(number).is_file():
            return None
        try:
            tensors, metadata = read_tensors(self._path(number))
        except DataError:
            return None  # the stage is trained again and replaces the damaged file
        if metadata.get("key") != self.keys[number]:
            return None  # written under another name: of other data or settings
        load_modules(self.translators, tensors, self._path(number))
        return float(metadata["seconds"])

    def store(self, number: int, seconds: float) -> None:
        """Write the translators as stage ``number`` left them; does nothing for stages that cannot be cached."""
        if number < len(self.keys):
            facts = {"key": self.keys[number], "seconds": repr(seconds)}
            write_tensors(self._path(number), module_tensors(self.translators), facts)

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.keys[number]}.safetensors"
