"""A cache of trained stages, for stages that several runs have in common.

Runs of a grid that differ in their registrator, or in what a strategy does later, all begin by training the same
translator on the same data. What a leading stage that touches translators alone computes is decided by the settings of
the translator, the data, the protocol, the seed, the code, and the machine's software; by the settings of the strategy
too, where a loss of the stage is the strategy's own. A hash of all of that names a file with the translators' weights
after the stage. A run that finds the file loads it instead of training: the same numbers come out, and the seconds the
training took elsewhere count as its own. Runs that start together do not all train the stage: the first takes its
lock, the others wait for its file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.errors import DataError
from regbench.locks import locked
from regbench.weights.files import load_modules, module_tensors, read_tensors, write_tensors

_BEYOND_TRAINING = ("ablation", "cli", "evaluation", "report", "testing", "tools")


class StageCache:
    """A folder of trained stages, each with a lock for the run that trains it.

    Args:
        folder: where the files lie; made when the first one is written.
        basis: everything that decides what the stages compute, as JSON, except the stages themselves.
        strategy: the strategy and its settings, as JSON.
        stages: all stages of the run.
        modules: all modules of the run.
    """

    def __init__(
        self,
        folder: Path,
        basis: Mapping[str, Any],
        strategy: Mapping[str, Any] | None,
        stages: Sequence[Stage],
        modules: Mapping[str, nn.Module],
    ) -> None:
        self.folder = folder
        self.translators = {name: module for name, module in modules.items() if isinstance(module, Translator)}
        self.keys: list[str] = []
        """Names of the files of the run's leading stages that can be cached."""
        chain = json.dumps(basis, sort_keys=True)
        of_translators = True  # so far
        for stage in stages:
            if stage.deploys or not {name.partition(".")[0] for name in stage.modules} <= set(self.translators):
                break  # it depends on more than translators, and so does every stage after it
            if of_translators and not _is_of(stage, self.translators):
                of_translators, chain = False, f"{chain}|{json.dumps(strategy, sort_keys=True)}"
            chain = f"{chain}|{stage.name},{stage.steps},{stage.batch},{stage.views},{stage.updated},{stage.train}"
            if stage.repeat_pairs is not None:
                chain += f",{stage.repeat_pairs}"
            self.keys.append(hashlib.sha256(chain.encode()).hexdigest()[:20])

    @contextmanager
    def alone(self, number: int) -> Iterator[None]:
        """Hold the lock of stage ``number``, once no other run holds it; nothing for a stage that is not cached."""
        with ExitStack() as held:
            if number < len(self.keys):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = self.folder / f"{self.keys[number]}.lock"
                held.enter_context(locked(lock, wait=True, work="trains the same stage"))
            yield

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


def _is_of(stage: Stage, translators: Mapping[str, nn.Module]) -> bool:
    """Whether all that a stage calls are methods of translators, so that it knows of no setting of the strategy."""
    calls: list[Any] = [stage.shared, stage.begin, stage.setup]
    calls += [call for objective in stage.objectives for call in (objective.loss, objective.after)]
    owners = [_owner(call) for call in calls if call is not None]
    return all(any(owner is module for module in translators.values()) for owner in owners)


def _owner(call: Any) -> Any:
    """The object whose method is called, also through ``functools.partial``; None for a function."""
    while isinstance(call, partial):
        call = call.func
    return getattr(call, "__self__", None)


def code_hash(*packages: str) -> str:
    """Hash of the sources of imported packages, but for rooms of the harness that training cannot reach."""
    digest = hashlib.sha256()
    for package in sorted(set(packages)):
        (folder, *_) = sys.modules[package].__path__
        for path in sorted(Path(folder).rglob("*.py")):
            name = path.relative_to(folder)
            if package != "regbench" or name.parts[0] not in _BEYOND_TRAINING:
                digest.update(f"{package}/{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
