"""Overhead of trainer, sampler and logging, compared with a bare loop of the same step on prepared batches.

    python benchmarks/harness_overhead.py [--registrator mcnet] [--budget quick] [--steps 30] [--rounds 5]

Both sides alternately train the registrator with its own loss on the embedded pairs, with the same optimiser, clipping
and learning rates. The bare loop has no trainer, sampler or log, and does not check losses for values that are not
finite. A third side is the trainer with the health watch, which runs once per round; in a run of the quick preset it
runs every 150 steps. Prints one JSON line: milliseconds per step (medians over rounds) and overheads. The overhead is
the time of a side divided by that of the bare loop in the same round, minus one; the median over rounds is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from regbench.data.sampler import PairSampler
from regbench.metrics.timing import device_sync
from regbench.runs.plan import Plan, make_plan
from regbench.runs.request import Request
from regbench.training.cpu_memory import keep_freed_memory
from regbench.training.health import Health
from regbench.training.trainer import Trainer


class Sides:
    """The three loops, each over the same number of steps."""

    def __init__(self, plan: Plan, steps: int) -> None:
        (stage,) = plan.stages
        self.plan = plan
        self.stage = replace(stage, steps=steps)
        device = plan.context.device
        self.sampler = PairSampler(plan.pack, plan.protocol, seed=0, device=device, labels=plan.labels)
        self.ready = [self.sampler.batch(stage.name, n, stage.batch, stage.views) for n in range(steps)]

    def bare(self) -> None:
        (objective,) = self.stage.objectives
        parameters = [p for name in objective.updates for p in self.stage.modules[name].parameters()]
        optimiser = objective.optimiser(parameters)
        for module in self.stage.modules.values():
            module.train()
        for step, batch in enumerate(self.ready):
            for group in optimiser.param_groups:
                group["lr"] = objective.lr(step)
            optimiser.zero_grad(set_to_none=True)
            objective.loss(batch, {})["loss"].backward()
            if objective.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, objective.clip)
            optimiser.step()

    def trainer(self, watched: bool = False) -> None:
        with tempfile.TemporaryDirectory() as folder:
            watch = Health(Path(folder), self.sampler) if watched else None
            modules = self.plan.context.modules
            Trainer((self.stage,), modules, self.sampler, seed=0, folder=Path(folder), watch=watch).fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registrator", default="mcnet")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--steps", type=int, default=30, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()  # as a run on a CPU does
    with tempfile.TemporaryDirectory() as out:
        request = Request(args.registrator, "supervised", pairing="online", budget=args.budget, device=args.device)
        sides = Sides(make_plan(replace(request, out=Path(out))), args.steps)
    calls = {"bare": sides.bare, "trainer": sides.trainer, "watched": lambda: sides.trainer(watched=True)}
    wait = device_sync(sides.sampler.device)
    spans: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(args.rounds + 1):
        for name, call in calls.items():
            wait()
            start = time.perf_counter()
            call()
            wait()
            if turn:  # the first round warms up
                spans[name].append(1e3 * (time.perf_counter() - start) / args.steps)
    overhead = {
        name: round(statistics.median(a / b for a, b in zip(spans[name], spans["bare"], strict=True)) - 1, 4)
        for name in ("trainer", "watched")
    }
    milliseconds = {name: round(statistics.median(times), 2) for name, times in spans.items()}
    setting = {"registrator": args.registrator, "budget": args.budget, "batch": sides.stage.batch, "steps": args.steps}
    setting |= {"device": str(sides.sampler.device), "threads": torch.get_num_threads()}
    print(json.dumps(setting | {"ms_a_step": milliseconds, "overhead": overhead}))


if __name__ == "__main__":
    main()
