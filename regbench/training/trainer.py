"""The one trainer. A strategy lists stages; this executes them, and nothing else in the project has a training loop.

Within a step (:mod:`regbench.training.step`) the objectives run in order. Each takes the gradient for the parameters it
updates and no others, so "frozen" needs no toggling of ``requires_grad``. The learning rate is a pure function of the
step, and every step's randomness is seeded by (run seed, stage, step): a killed run continues from its checkpoint to
the same numbers. No value is read back from the device inside a step; a loss that is not finite raises a flag on the
device that is looked at when progress is reported, and no checkpoint is ever written with the flag up. Processes that
train together (:mod:`regbench.distributed.processes`) agree after each step, on the host, on whether to save and to stop.
"""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from regbench.api.stage import Stage, module_named
from regbench.data.sampler import PairSampler
from regbench.distributed.processes import ALONE, World
from regbench.errors import DataError, DivergedError, InterruptedRun, RegbenchError
from regbench.seeds import seed_of
from regbench.training.cpu_memory import lasting_apart
from regbench.training.health import every
from regbench.training.progress import Quiet, Reporter, Tick
from regbench.training.stage_cache import SharedStages
from regbench.training.step import Running, averaged, take_step
from regbench.weights.checkpoint import Checkpoint, TrainingState, read_checkpoint, save_checkpoint


class TrainerConfig(BaseModel):
    """Settings that change how a run is executed, never what comes out of it (``--set run.NAME=VALUE``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint_seconds: float = Field(30.0, ge=0)
    """At most this much work is lost to a kill."""
    log_every: int = Field(20, ge=1)
    """Steps between looks at the loss; each look waits for the device."""
    eval_every: int = Field(0, ge=0)
    """Score what a stage deploys every so many steps, to ``curve.jsonl``; 0 only at the end of each stage."""
    share: Path | None = None
    """Folder where stages that other runs have in common are kept and looked for, see ``training/stage_cache.py``."""


class Trainer:
    """Executes stages in order, resuming from ``folder/checkpoint.safetensors`` when it is there.

    Args:
        stages: what to train.
        modules: every module of the run by name; all are saved, whichever stage runs.
        sampler: the data.
        seed: of the run.
        folder: of the run; checkpoint, log.jsonl and curve.jsonl are written there.
        config: how to execute.
        reporter: what a person sees.
        score: judges a deployed module, to file only: ``(module, its name, stage whose end this is or None)``; None
            judges nothing.
        shared: where stages that other runs have in common are kept; None trains all of them here.
        watch: looks after a deployed module without labels, to file only: ``(module, its name, stage, steps done)``.
        world: the processes that train together. The first alone writes, reports, scores and watches.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        modules: Mapping[str, nn.Module],
        sampler: PairSampler,
        *,
        seed: int,
        folder: Path,
        config: TrainerConfig | None = None,
        reporter: Reporter | None = None,
        score: Callable[[nn.Module, str, str | None], dict[str, float]] | None = None,
        watch: Callable[[nn.Module, str, Stage, int], None] | None = None,
        shared: SharedStages | None = None,
        world: World = ALONE,
    ) -> None:
        names = [s.name for s in stages]
        if len(set(names)) != len(names):
            raise RegbenchError(f"stages must have different names, got {names}")
        for stage in stages:
            for name, module in stage.modules.items():
                if module_named(modules, name) is not module:
                    raise RegbenchError(f"stage {stage.name!r}: module {name!r} is not the run's module of that name")
        self.stages, self.modules, self.sampler = stages, modules, sampler
        self.seed, self.folder = seed, folder
        self.config = config or TrainerConfig()
        self.reporter: Reporter = reporter or Quiet()
        self.score, self.watch, self.shared = score, watch, shared
        self.world = world
        self.state = TrainingState()
        self._stop = threading.Event()
        self._stepped: str | None = None  # the stage whose step was the last this process took

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run is kept."""
        return self.folder / "checkpoint.safetensors"

    def fit(self) -> TrainingState:
        """Train every stage that is not done yet.

        Raises:
            DivergedError: a loss is not finite; the last good checkpoint is kept.
            InterruptedRun: a signal arrived; everything up to it is in the checkpoint.
            RegbenchError: the disk is full, a broken checkpoint, a broken stage.
        """
        found = read_checkpoint(self.checkpoint)
        self._stand_together(found)
        if found:
            if found.state.stage > len(self.stages):
                raise DataError(f"{self.checkpoint}: has more stages than this run; move it away to start afresh")
            self.state = found.state
            found.load_modules(self.modules)
            if found.state.stage < len(self.stages):
                stage = self.stages[found.state.stage]
                self.reporter.say(f"resuming in stage {stage.name} after step {found.state.step}/{stage.steps}")
        with self._signals():
            for number in range(self.state.stage, len(self.stages)):
                self._run_stage(number, found if found and found.state.stage == number else None)
        self.reporter.close()
        return self.state

    def _stand_together(self, found: Checkpoint | None) -> None:
        """No process may go on, and write, before all have read the same checkpoint."""
        here = vars(found.state) if found else None
        (apart,) = self.world.any(self.world.of_first(here) != here)
        if apart:
            raise DataError(f"{self.checkpoint} is not the same to all processes: --out must be a folder they share")

    def _run_stage(self, number: int, resumed: Any) -> None:
        stage = self.stages[number]
        if self._taken_over(number, stage):
            return
        running = self._enter(stage, afresh=self.state.step == 0)
        if resumed and self.state.step:
            for i, r in enumerate(running):
                resumed.load_optimiser(i, r.optimiser)
                if r.average is not None:
                    resumed.load_average(i, r.average)
        self._steps(number, stage, running)
        for r in running:
            r.settle()
        self._watch(stage, stage.steps, [])
        self._evaluate(stage, stage.steps, [])
        if self.shared is not None and self.world.first:
            self.shared.keep(number, self.state.stage_seconds[stage.name])
        self.state.stage, self.state.step = number + 1, 0
        self._save([])

    def _enter(self, stage: Stage, *, afresh: bool) -> list[Running]:
        if afresh and stage.begin is not None:
            stage.begin()
        if stage.setup is not None:
            stage.setup()
        for module in self.modules.values():
            module.eval()  # a module that the stage does not list may still be asked, and must not learn statistics
        return [Running(objective, stage) for objective in stage.objectives]

    def rehearse(self, stage: Stage) -> Callable[[], None]:
        """Enter a stage afresh, for timing: each call of what is returned is its next step, and nothing is written.

        The steps are real and change the weights; after the last one they begin again.
        """
        running = self._enter(stage, afresh=True)
        flag = torch.zeros((), dtype=torch.bool, device=self.sampler.device)
        steps = itertools.cycle(range(stage.steps))

        def step() -> None:
            self._modes(stage)
            self._step(stage, running, next(steps), flag)

        return step

    def _taken_over(self, number: int, stage: Stage) -> bool:
        """Whether another run had this very stage and left what it trained."""
        if self.shared is None or self.state.step:
            return False
        seconds = self.world.of_first(self.shared.restore(number) if self.world.first else None)
        if seconds is None:
            return False
        if not self.world.first:
            self.shared.restore(number)
        self.reporter.say(f"stage {stage.name} was trained by another run, in {seconds:.0f} s")
        self._log({"stage": stage.name, "step": stage.steps, "taken_over": True})
        self.state.seconds += seconds
        self.state.stage_seconds[stage.name] = seconds
        self.state.stage, self.state.step = number + 1, 0
        self._save([])
        return True

    def _steps(self, number: int, stage: Stage, running: list[Running]) -> None:
        flag = torch.zeros((), dtype=torch.bool, device=self.sampler.device)
        started = saved = looked = time.monotonic()
        first, since = self.state.step, self.state.step
        for step in range(self.state.step, stage.steps):
            self._modes(stage)  # an evaluation or a callback may have changed them
            with self.world.sharing():
                flag, logged = self._step(stage, running, step, flag)
            self.state.step = step + 1
            done = step + 1 == stage.steps
            late = time.monotonic() - saved >= self.config.checkpoint_seconds
            due, stop = self.world.any(late, self._stop.is_set())
            if done or due or stop or (step + 1) % self.config.log_every == 0:
                values = self._look(stage, flag, logged, since)
                now = time.monotonic()
                rate = (step + 1 - since) / max(now - looked, 1e-9)
                self._report(number, stage, step + 1, values, rate)
                since, looked = step + 1, now
            if (step + 1) % every(stage) == 0 and not done:
                self._watch(stage, step + 1, running)
            if self.config.eval_every and (step + 1) % self.config.eval_every == 0 and not done:
                self._evaluate(stage, step + 1, running)
            if due or stop:
                self._clock(stage, started)
                started = saved = time.monotonic()
                self._save(running)
            if stop:
                self.reporter.close()
                raise InterruptedRun(f"interrupted in stage {stage.name} at step {step + 1}; run it again to resume")
        if first < stage.steps:
            self._clock(stage, started)

    def _step(self, stage: Stage, running: list[Running], step: int, flag: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(seed_of(self.seed, "step", stage.name, step))  # dropout and the like
        first, self._stepped = self._stepped != stage.name, stage.name
        with lasting_apart() if first and self.sampler.device.type == "cpu" else nullcontext():
            batch = self.sampler.batch(stage.name, step, stage.batch, stage.views)
            return take_step(stage, running, batch, flag, self.world)

    def _modes(self, stage: Stage) -> None:
        training = stage.updated if stage.train is None else stage.train
        for name, module in stage.modules.items():
            module.train(name in training)

    def _look(self, stage: Stage, flag: Tensor, logged: Mapping[str, Tensor], since: int) -> dict[str, float]:
        """Read the device: is everything finite? The only place that waits for it. Returns what was logged."""
        (bad,) = self.world.any(bool(flag))
        if bad:
            self.reporter.close()
            raise DivergedError(
                f"stage {stage.name}: the loss is not finite between steps {since} and {self.state.step}; "
                "nothing after the last checkpoint was kept. Lower the learning rate or clip the gradient"
            )
        values = self.world.mean(logged)
        rounded = {name: round(value, 6) for name, value in values.items()}
        self._log({"stage": stage.name, "step": self.state.step, **rounded})
        return values

    def _log(self, entry: Mapping[str, Any]) -> None:
        if self.world.first:
            _append(self.folder / "log.jsonl", entry)

    def _report(self, number: int, stage: Stage, step: int, values: Mapping[str, float], rate: float) -> None:
        # Later stages are assumed to run at this stage's pace: an estimate, and said as one.
        left = (stage.steps - step + sum(s.steps for s in self.stages[number + 1 :])) / max(rate, 1e-9)
        loss = next((v for k, v in values.items() if k.endswith("loss")), float("nan"))
        tick = Tick(stage.name, number + 1, len(self.stages), step, stage.steps, loss, rate * stage.batch, left)
        self.reporter.tick(tick)

    def _clock(self, stage: Stage, started: float) -> None:
        spent = time.monotonic() - started
        self.state.seconds += spent
        self.state.stage_seconds[stage.name] = self.state.stage_seconds.get(stage.name, 0.0) + spent

    def _save(self, running: list[Running]) -> None:
        if not self.world.first:
            return
        optimisers = [r.optimiser for r in running]
        save_checkpoint(self.checkpoint, self.state, self.modules, optimisers, [r.average for r in running])

    def _evaluate(self, stage: Stage, step: int, running: list[Running]) -> None:
        """Score what the stage deploys, to file only; with the averaged weights where there are some."""
        if self.score is not None and stage.deploys and self.world.first:
            with averaged(running):
                for name, module in stage.deploys.items():
                    found = self.score(module, name, stage.name if step == stage.steps else None)
                    _append(self.folder / "curve.jsonl", {"stage": stage.name, "step": step, "deploys": name} | found)
        self.world.wait()

    def _watch(self, stage: Stage, step: int, running: list[Running]) -> None:
        """Check the health of what the stage deploys; with the averaged weights where there are some."""
        if self.watch is not None and self.world.first:
            with averaged(running):
                for name, module in stage.deploys.items():
                    self.watch(module, name, stage, step)
        self.world.wait()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a stop at the end of the step, with a checkpoint."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, lambda *_: self._stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
