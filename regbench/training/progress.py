"""What a person sees while a run trains: stage, step, loss, pairs a second, time left.

A bar on a terminal; elsewhere a plain line now and then, so that logs stay readable. All of it goes to stderr.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from regbench.texts import printable


@dataclass(frozen=True)
class Tick:
    """The state of training at one moment.

    Attributes:
        stage: name of the stage.
        number: of the stage, from 1.
        stages: how many the run has.
        step: steps done in this stage.
        steps: steps of this stage.
        loss: of the last step.
        rate: training pairs a second.
        left: estimated seconds until the last stage ends.
    """

    stage: str
    number: int
    stages: int
    step: int
    steps: int
    loss: float
    rate: float
    left: float


class Reporter:
    """Receives what is worth telling a person. This one is silent; others override what they show."""

    def tick(self, tick: Tick) -> None:
        """Training moved on."""

    def say(self, line: str) -> None:
        """A line of its own."""

    def close(self) -> None:
        """Training ended."""


def duration(seconds: float) -> str:
    """Seconds as ``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _describe(t: Tick) -> str:
    return (
        f"[{t.number}/{t.stages}] {t.stage}  step {t.step}/{t.steps}  loss {t.loss:.3f}  "
        f"{t.rate:.0f} pairs/s  {duration(t.left)} left"
    )


class Lines(Reporter):
    """Plain lines, at most one every ``every`` seconds and one at the end of each stage."""

    def __init__(self, every: float = 10.0) -> None:
        self._every = every
        self._last = -every

    def tick(self, tick: Tick) -> None:
        """Print the tick if enough time has passed, or the stage has ended."""
        now = time.monotonic()
        if now - self._last >= self._every or tick.step == tick.steps:
            self._last = now
            self.say(_describe(tick))

    def say(self, line: str) -> None:
        """Print to stderr."""
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201


class Bar(Reporter):
    """A rich progress bar for each stage."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), console=console, transient=False
        )
        self._progress.start()
        self._tasks: dict[str, TaskID] = {}

    def tick(self, tick: Tick) -> None:
        """Move the stage's bar."""
        if tick.stage not in self._tasks:
            self._tasks[tick.stage] = self._progress.add_task(printable(tick.stage), total=tick.steps)
        self._progress.update(self._tasks[tick.stage], completed=tick.step, description=printable(_describe(tick)))

    def say(self, line: str) -> None:
        """Print above the bars."""
        self._progress.console.print(printable(line), markup=False, emoji=False, highlight=False)

    def close(self) -> None:
        """Stop redrawing and leave the bars as they are."""
        self._progress.stop()


def reporter(quiet: bool = False) -> Reporter:
    """The reporter that fits where stderr goes."""
    if quiet:
        return Reporter()
    return Bar() if sys.stderr.isatty() else Lines()
