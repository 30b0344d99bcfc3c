"""Training cells: parts of a long training that go on from one short run to the next, through shards of bfloat16.

Weights of the trained module are kept, and the number of its steps; moments of the optimiser and moving averages are
not, so each continuation begins with fresh ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.gpu.kept import Kept, seconds
from benchmarks.gpu.runs import Entered, Sets, Size, enter
from regbench.api.stage import module_named
from regbench.api.translator import Translator
from regbench.evaluation.evaluator import Evaluator
from regbench.evaluation.translation import assess_translation
from regbench.metrics.corner import mace

NEXT = "next.json"
SHARD = 15 * 2**20
"""Most bytes of a shard."""


@dataclass(frozen=True)
class Cell:
    """A training that is worth minutes of a GPU.

    Attributes:
        asks: the question it answers.
        strategy: of the run.
        registrator: of the run.
        translator: of the run, or None.
        stage: the stage that is trained.
        module: the part of the run that is kept, by its name there.
        needs: cells whose weights it starts from: name of the cell to the module that takes them.
        sets: settings of the run.
    """

    asks: str
    strategy: str
    registrator: str
    translator: str | None
    stage: str
    module: str
    needs: dict[str, str] = field(default_factory=dict)
    sets: Sets = field(default_factory=dict)


_NO_WARM_UP = {"strategy": {"warm_up": 0}}
CELLS = {
    "unet": Cell(
        "after how many steps does a MIMGCD of published size follow the source?",
        *("translate", "mcnet", "mimgcd", "mimgcd", "translator.unet"),
    ),
    "r-self": Cell(
        "what does R_s learn from the translations of that U-Net?",
        *("colreg", "mcnet4", "mimgcd", "r-self-0", "r_self"),
        needs={"unet": "translator.unet"},
        sets=_NO_WARM_UP,
    ),
    "r-self-control": Cell(
        "the same with the target in the place of its translation",
        *("colreg", "mcnet4", "copy-target", "r-self-0", "r_self"),
        sets={"strategy": {"warm_up": 0, "rounds": 1}},
    ),
    "r": Cell(
        "what does R learn from the labels of that R_s?",
        *("colreg", "mcnet4", "mimgcd", "r-0", "r"),
        needs={"r-self": "r_self"},
        sets=_NO_WARM_UP,
    ),
    "supervised": Cell("the ceiling at published size", "supervised", "mcnet4", None, "supervised", "registrator"),
    "self-supervised": Cell(
        "the floor at published size", "self-supervised", "mcnet4", None, "self-supervised", "registrator"
    ),
}
QUEUE = (("unet",), ("r-self", "r-self-control"), ("supervised", "self-supervised"), ("unet",), ("r",))
"""Which cells each short run trains, in equal parts of its time."""


@dataclass
class Progress:
    """What is handed from one short run to the next: ``next.json`` and the shards beside it.

    Attributes:
        runs: how many short runs there have been.
        queue: cells of the coming runs.
        steps: steps each cell has had.
        files: shards of each cell's module.
        curves: what was seen at looks, by cell.
    """

    runs: int = 0
    queue: list[list[str]] = field(default_factory=lambda: [list(cells) for cells in QUEUE])
    steps: dict[str, int] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def wanted(self) -> set[str]:
        """Cells that a coming run, after the one in progress, starts from."""
        return {cell for cells in self.queue[1:] for name in cells for cell in (name, *CELLS[name].needs)}

    @classmethod
    def read(cls, folder: Path | None) -> Progress:
        """Of the last short run; fresh without one."""
        return cls(**json.loads((folder / NEXT).read_text(encoding="utf-8"))) if folder else cls()

    def write(self, folder: Path) -> None:
        """For the next short run."""
        (folder / NEXT).write_text(json.dumps(vars(self), indent=1) + "\n", encoding="utf-8")


class Training:
    """Trains cells and keeps their weights.

    Args:
        kept: where curves and shards go.
        before: folder of the last short run, with its shards; None for the first.
        size: of the networks.
        device: such as ``cuda``.
        precision: of the objectives.
    """

    def __init__(self, kept: Kept, before: Path | None, size: Size, device: str, precision: str) -> None:
        self.kept, self.before, self.size, self.device, self.precision = kept, before, size, device, precision
        self.progress = Progress.read(before)

    def cell(self, name: str, until: float) -> Any:
        """Train a cell until ``until`` seconds after the start of the process; keep its curve and its weights."""
        cell = CELLS[name]
        run = enter(
            *(cell.strategy, cell.registrator, cell.translator, self.size, self.device, self.kept.out / "unused"),
            precision=self.precision,
            sets=cell.sets,
        )
        done = self.progress.steps.get(name, 0)
        for needed, module in {**cell.needs, **({name: cell.module} if done else {})}.items():
            self._load(needed, run, module)
        curve = self.progress.curves.setdefault(name, [])
        look = self._look(run, cell)
        step, start, due, logged = run.steps(run.stage(cell.stage), done), done, done, {}
        while seconds() < until and done < run.stage(cell.stage).steps:
            if done >= due:
                curve.append({"step": done, "s": round(seconds()), **look()})
                self.kept.keep(f"curve of {name}", curve)
                due = max(done + 100, round(1.35 * done))
            logged = step()
            done += 1
        curve.append({"step": done, "s": round(seconds()), **look()})
        self.progress.steps[name] = done
        if name in self.progress.wanted:
            self.progress.files[name] = self._save(name, _module(run, cell.module))
        return {
            "asks": cell.asks,
            "steps": [start, done],
            "last": {key: round(float(value), 4) for key, value in logged.items()},
            "curve": curve,
        }

    def hand_over(self) -> dict[str, Any]:
        """Write what the next short run needs: ``next.json``, and shards of cells that it starts from."""
        progress = self.progress
        progress.runs += 1
        wanted, progress.queue = progress.wanted, progress.queue[1:]
        for name in list(progress.files):
            for file in progress.files[name]:
                here = self.kept.out / file
                if name in wanted and not here.is_file() and self.before is not None:
                    here.write_bytes((self.before / file).read_bytes())
            if name not in wanted:
                progress.files.pop(name)
        progress.write(self.kept.out)
        return {"queue": progress.queue, "files": sorted(path.name for path in self.kept.out.glob("*.*"))}

    def _look(self, run: Entered, cell: Cell) -> Callable[[], dict[str, float]]:
        """A measurement of what is trained, on the frozen test pairs."""
        few = run.test_pairs()
        module = _module(run, cell.module.partition(".")[0])

        def translation() -> dict[str, float]:
            assert isinstance(module, Translator)
            found = assess_translation(few, module, batch=64)
            short = {key: round(found[key]["value"], 4) for key in ("follows_source", "follows_target")}
            return short | {f"l1 {k}": round(found["l1"][k]["value"], 4) for k in ("translation", "source", "target")}

        def registration() -> dict[str, float]:
            errors = Evaluator(few, batch=64).pairs(module).errors
            return {"mace": round(float(mace(errors)), 4), "identity": round(float(errors.identity.mean()), 4)}

        return translation if isinstance(module, Translator) else registration

    def _load(self, name: str, run: Entered, module: str) -> None:
        files = self.progress.files.get(name, [])
        if not files:
            raise FileNotFoundError(f"cell {name!r} has not been trained yet: no weights for {module!r}")
        tensors: dict[str, torch.Tensor] = {}
        for file in files:
            here = self.kept.out / file
            tensors |= load_file(here if here.is_file() or self.before is None else self.before / file)
        _module(run, module).load_state_dict(tensors)

    def _save(self, name: str, module: nn.Module) -> list[str]:
        """The module's state in shards; floating point as bfloat16."""
        shards: list[dict[str, torch.Tensor]] = [{}]
        size = 0
        for key, value in module.state_dict().items():
            half = value.detach().to("cpu", torch.bfloat16 if value.is_floating_point() else value.dtype).contiguous()
            if shards[-1] and size + half.nbytes > SHARD:
                shards.append({})
                size = 0
            shards[-1][key] = half.clone()
            size += half.nbytes
        files = [f"{name}-{number}.safetensors" for number in range(len(shards))]
        for file, shard in zip(files, shards, strict=True):
            save_file(shard, self.kept.out / file)
        return files


def _module(run: Entered, name: str) -> nn.Module:
    module = module_named(run.plan.context.modules, name)
    assert module is not None, name
    return module
