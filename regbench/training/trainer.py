"""The one trainer. A strategy lists stages; this executes them, and nothing else in the project has a training loop.

Within a step (:mod:`regbench.training.step`) the objectives run in order. Each takes the gradient for the parameters it
updates and no others, so "frozen" needs no toggling of ``requires_grad``. The learning rate is a pure function of the
step, and every step's randomness is seeded by (run seed, stage, step), so a killed run continues from its checkpoint to
the same numbers. No value is read back from the device inside a step: a loss or a gradient that is not finite sets a
flag on the device, which is read when progress is reported. A checkpoint is only written after such a look, and after
one at the weights themselves. After each step the processes of a run (:mod:`regbench.distributed.processes`) agree, on
the host, on whether to save and to stop.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regbench import interrupts
from regbench.api.stage import Stage, module_named
from regbench.data.sampler import PairSampler
from regbench.distributed.processes import ALONE, World
from regbench.errors import DataError, DivergedError, InterruptedRun, RegbenchError
from regbench.results.layout import CHECKPOINT, CURVE, LOG
from regbench.results.store import append_json
from regbench.seeds import seed_of
from regbench.training.checkpoint import Checkpoint, TrainingState, Writer, read_checkpoint, save_checkpoint
from regbench.training.config import TrainerConfig
from regbench.training.cpu_memory import StepAllocation
from regbench.training.health import every
from regbench.training.progress import Reporter, Tick
from regbench.training.seen import counting_pairs
from regbench.training.stage_cache import StageCache
from regbench.training.step import ObjectiveState, all_finite, averaged, take_step


class Trainer:
    """Executes stages in order, resuming from the folder's checkpoint when there is one.

    Args:
        stages: what to train.
        modules: every module of the run by name; all are saved, whichever stage runs.
        sampler: the data.
        seed: of the run.
        folder: of the run; checkpoint, log and curve are written there.
        config: how to execute.
        reporter: what a person sees.
        score: judges a deployed module, to file only: ``(module, its name, stage whose end this is or None)``; None
            judges nothing.
        watch: checks a deployed module without labels, to file only: ``(module, its name, stage, steps done)``.
        stage_cache: trained stages that other runs have in common with this one; None trains all of them here.
        world: the processes that train together. The first alone writes, reports, scores and watches.
        bound: facts that are written into every checkpoint and that one must have to be resumed, such as the run id.

    Raises:
        RegbenchError: two stages have one name, or a stage names a module that is not the run's.
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
        stage_cache: StageCache | None = None,
        world: World = ALONE,
        bound: Mapping[str, str] | None = None,
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
        self.reporter = reporter or Reporter()
        self.score, self.watch, self.stage_cache = score, watch, stage_cache
        self.world, self.bound = world, bound or {}
        self.state = TrainingState()
        self._stop = threading.Event()
        on_cpu = sampler.device.type == "cpu"
        seconds = self.config.checkpoint_seconds
        self._checkpoint_seconds = (30.0 if on_cpu else 300.0) if seconds is None else seconds
        self._writer = None if on_cpu else Writer()

    @property
    def checkpoint(self) -> Path:
        """The file that holds where the run stands."""
        return self.folder / CHECKPOINT

    def fit(self) -> TrainingState:
        """Train every stage that is not done yet.

        Raises:
            DivergedError: a loss, a gradient or a weight is not finite; the last good checkpoint is kept.
            InterruptedRun: a signal arrived; everything up to it is in the checkpoint.
            RegbenchError: the disk is full, a broken checkpoint, a broken stage.
        """
        checkpoint = read_checkpoint(self.checkpoint, self.bound)
        self._check_same_checkpoint(checkpoint)
        if checkpoint:
            self._resume(checkpoint)
        with self._all_written():
            for number in range(self.state.stage, len(self.stages)):
                self._run_stage(number, checkpoint if checkpoint and checkpoint.state.stage == number else None)
        self.reporter.close()
        return self.state

    @contextmanager
    def _all_written(self) -> Iterator[None]:
        """At the end, however it comes, the last checkpoint is on the disk."""
        try:
            yield
        finally:
            if self._writer is not None:
                self._writer.wait()

    def _check_same_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """No process may go on, and write, before all have read the same checkpoint."""
        own = vars(checkpoint.state) if checkpoint else None
        (differ,) = self.world.any(self.world.broadcast_from_first(own) != own)
        if differ:
            raise DataError(f"{self.checkpoint} is not the same to all processes: --out must be a folder they share")

    def _resume(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        steps = self.stages[state.stage].steps if state.stage < len(self.stages) else 0
        if state.stage > len(self.stages) or state.step > steps:
            raise DataError(
                f"{self.checkpoint}: stands at step {state.step} of stage {state.stage + 1}, which this run does not "
                "have; add --force to start afresh"
            )
        self.state = checkpoint.state
        checkpoint.load_modules(self.modules)
        if self.state.stage < len(self.stages):
            stage = self.stages[self.state.stage]
            self.reporter.say(f"resuming in stage {stage.name} after step {self.state.step}/{stage.steps}")

    def _run_stage(self, number: int, checkpoint: Checkpoint | None) -> None:
        """Take over one stage from another run, or train it; ``checkpoint`` is the one it is resumed from."""
        stage = self.stages[number]
        with self._alone(number):
            if not self._restored_from_cache(number, stage):
                self._train_stage(number, stage, checkpoint)

    def _train_stage(self, number: int, stage: Stage, checkpoint: Checkpoint | None) -> None:
        objectives = self._enter(stage, afresh=self.state.step == 0)
        if checkpoint and self.state.step:
            for i, objective in enumerate(objectives):
                checkpoint.load_optimiser(i, objective.optimiser)
                if objective.average is not None:
                    checkpoint.load_average(i, objective.average)
        with interrupts.put_off(self._stop):
            self._steps(number, stage, objectives)
            (stop,) = self.world.any(self._stop.is_set())
            if stop or stage.deploys:
                self._save(objectives)  # judging may be interrupted
        if stop:
            raise self._interrupted(stage)
        for objective in objectives:
            objective.adopt_average()
        try:
            self._watch(stage, stage.steps, [])
            self._evaluate(stage, stage.steps, [])
        except KeyboardInterrupt:
            raise self._interrupted(stage) from None
        if self.stage_cache is not None and self.world.first:
            self.stage_cache.store(number, self.state.stage_seconds[stage.name])
        self.state.next_stage()
        self._save([])

    def _alone(self, number: int) -> AbstractContextManager[None]:
        """Of all runs that share a stage, train alone; wait for another run that trains it."""
        if self.stage_cache is None or not self.world.first:
            return nullcontext()
        return self.stage_cache.alone(number)

    def _restored_from_cache(self, number: int, stage: Stage) -> bool:
        """Whether another run has trained this very stage, whose weights are then loaded."""
        if self.stage_cache is None:
            return False
        seconds = self.world.broadcast_from_first(self.stage_cache.load(number) if self.world.first else None)
        if seconds is None:
            return False
        if not self.world.first:
            self.stage_cache.load(number)
        self.reporter.say(f"stage {stage.name} was trained by another run, in {seconds:.0f} s")
        self._log({"stage": stage.name, "step": stage.steps, "taken_over": True})
        self.state.spend(seconds, stage.name)
        self.state.next_stage()
        self._save([])
        return True

    def _enter(self, stage: Stage, *, afresh: bool) -> list[ObjectiveState]:
        if afresh and stage.begin is not None:
            stage.begin()
        if stage.setup is not None:
            stage.setup()
        for module in self.modules.values():
            module.eval()  # a loss may call a module that the stage does not list, which must not learn statistics
        return [ObjectiveState(objective, stage) for objective in stage.objectives]

    def _steps(self, number: int, stage: Stage, objectives: list[ObjectiveState]) -> None:
        """The training loop."""
        not_finite = torch.zeros((), dtype=torch.bool, device=self.sampler.device)
        allocation = StepAllocation(self.sampler.device.type)
        began = saved = reported = time.monotonic()
        first = reported_step = self.state.step
        if 0 < self.state.step < stage.steps and not self._checked(stage, self.state.step, objectives):
            raise self._interrupted(stage)
        for step in range(self.state.step, stage.steps):
            self._set_modes(stage)  # an evaluation or a callback may have changed them
            with self.world.sharing_batches(), allocation(), self._pairs_counted(stage):
                not_finite, logged = self._step(stage, objectives, step, not_finite)
            done = self.state.step = step + 1
            last = done == stage.steps
            late = time.monotonic() - saved >= self._checkpoint_seconds
            save, stop = self.world.any(late, self._stop.is_set())
            if last or save or stop or done % self.config.log_every == 0:
                values = self._look(stage, not_finite, logged, reported_step)
                now = time.monotonic()
                rate, pace = ((done - s) / max(now - t, 1e-9) for s, t in ((reported_step, reported), (first, began)))
                self._report(number, stage, values, rate=rate, pace=pace)
                reported, reported_step = now, done
            if not (last or stop) and not self._checked(stage, done, objectives):
                stop = True
            if save or stop:
                now = time.monotonic()
                self.state.spend(now - saved, stage.name)
                saved = now
                self._save(objectives)
            if stop:
                raise self._interrupted(stage)
        self.state.spend(time.monotonic() - saved, stage.name)

    def _checked(self, stage: Stage, done: int, objectives: list[ObjectiveState]) -> bool:
        """Check and score within a stage, when it is time to (again after a resume); False where a signal ended it."""
        try:
            with interrupts.at_once():
                if done % every(stage) == 0:
                    self._watch(stage, done, objectives)
                if self.config.eval_every and done % self.config.eval_every == 0:
                    self._evaluate(stage, done, objectives)
        except KeyboardInterrupt:
            if self.world.processes > 1:
                raise  # the others wait for what was not finished
            return False
        return True

    def _interrupted(self, stage: Stage) -> InterruptedRun:
        self.reporter.close()
        where = f"at step {self.state.step}" if self.state.step < stage.steps else "after its last step"
        return InterruptedRun(f"interrupted in stage {stage.name} {where}; run it again to resume")

    @contextmanager
    def _pairs_counted(self, stage: Stage) -> Iterator[None]:
        """In the first step of a stage, count the pairs its registrators learn from; each step has as many."""
        if stage.name in self.state.step_pairs:
            yield
            return
        with counting_pairs(stage, self.modules) as counts:
            yield
        self.state.step_pairs[stage.name] = self.world.processes * sum(counts)

    def _step(
        self, stage: Stage, objectives: list[ObjectiveState], step: int, not_finite: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(seed_of(self.seed, "step", stage.name, step))  # dropout and the like
        batch = self.sampler.batch(stage.name, step, stage.batch, stage.views, stage.repeat_pairs)
        return take_step(stage, objectives, batch, not_finite, self.world)

    def timed_steps(self, stage: Stage, start: int = 0) -> Callable[[], dict[str, Tensor]]:
        """Enter a stage afresh, to time its steps: each call of the function returned is one step; no file is written.

        The steps are real and change the weights, from step ``start`` on; after the last step of the stage they begin
        again with the first. A step returns the values a loss logs, on the device.
        """
        objectives = self._enter(stage, afresh=True)
        not_finite = torch.zeros((), dtype=torch.bool, device=self.sampler.device)
        allocation = StepAllocation(self.sampler.device.type)
        steps = itertools.count(start)

        def step() -> dict[str, Tensor]:
            self._set_modes(stage)
            with allocation():
                return self._step(stage, objectives, next(steps) % stage.steps, not_finite)[1]

        return step

    def _set_modes(self, stage: Stage) -> None:
        training = stage.updated if stage.train is None else stage.train
        for name, module in stage.modules.items():
            module.train(name in training)

    def _look(self, stage: Stage, not_finite: Tensor, logged: Mapping[str, Tensor], since: int) -> dict[str, float]:
        """Read the device, the only place that waits for it: log the losses and return them.

        Raises:
            DivergedError: a loss or a gradient was not finite after step ``since``.
        """
        (diverged,) = self.world.any(bool(not_finite))
        if diverged:
            self.reporter.close()
            raise DivergedError(
                f"stage {stage.name}: loss or gradient is not finite between steps {since} and {self.state.step}; "
                "nothing after the last checkpoint was kept. Lower the learning rate or clip the gradient"
            )
        values = self.world.mean(logged)
        rounded = {name: round(value, 6) for name, value in values.items()}
        self._log({"stage": stage.name, "step": self.state.step, **rounded})
        return values

    def _report(self, number: int, stage: Stage, values: Mapping[str, float], *, rate: float, pace: float) -> None:
        """Tell a person how far training is; ``rate`` of late and ``pace`` in this stage, in steps a second."""
        step = self.state.step
        # An estimate: later stages are assumed to run at this stage's mean pace.
        left = (stage.steps - step + sum(s.steps for s in self.stages[number + 1 :])) / max(pace, 1e-9)
        self.reporter.tick(
            Tick(
                stage=stage.name,
                number=number + 1,
                stages=len(self.stages),
                step=step,
                steps=stage.steps,
                loss=next((value for name, value in values.items() if name.endswith("loss")), float("nan")),
                rate=rate * stage.batch,
                left=left,
            )
        )

    def _log(self, entry: Mapping[str, Any]) -> None:
        if self.world.first:
            append_json(self.folder / LOG, entry)

    def _save(self, objectives: Sequence[ObjectiveState]) -> None:
        (diverged,) = self.world.any(not bool(all_finite(self.modules)))
        if diverged:
            self.reporter.close()
            raise DivergedError(
                f"weights are not finite after step {self.state.step} of stage {self.state.stage + 1}; nothing after "
                "the last checkpoint was kept. Lower the learning rate or clip the gradient"
            )
        if self.world.first:
            optimisers, averages = [o.optimiser for o in objectives], [o.average for o in objectives]
            save_checkpoint(self.checkpoint, self.state, self.modules, optimisers, averages, self.bound, self._writer)

    def _evaluate(self, stage: Stage, step: int, objectives: Sequence[ObjectiveState]) -> None:
        """Score what the stage deploys, to file only; with the averaged weights where there are some."""
        if self.score is not None and stage.deploys and self.world.first:
            with averaged(objectives):
                for name, module in stage.deploys.items():
                    scores = self.score(module, name, stage.name if step == stage.steps else None)
                    append_json(self.folder / CURVE, {"stage": stage.name, "step": step, "deploys": name} | scores)
        self.world.wait()

    def _watch(self, stage: Stage, step: int, objectives: Sequence[ObjectiveState]) -> None:
        """Check the health of what the stage deploys; with the averaged weights where there are some."""
        if self.watch is not None and self.world.first:
            with averaged(objectives):
                for name, module in stage.deploys.items():
                    self.watch(module, name, stage, step)
        self.world.wait()
