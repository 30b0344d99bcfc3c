"""CPU time of a training step, stage by stage: what a step costs on a machine that is busy with other work too.

    python benchmarks/step_cpu_time.py --strategy supervised
    python benchmarks/step_cpu_time.py --strategy colreg --translator mimgcd --stages r-self-0 --set strategy.pool=4

Steps are real ones on the embedded pairs, by one thread unless ``--threads`` says more. The first ``--warm-up`` steps
are not counted, among them those that fill a pool. Prints the least and the median milliseconds of CPU time of a step,
its median by the clock on the wall, and the median CPU time of the sampler alone. To compare two versions of the code,
run it in turns in both checkouts: other processes slow a step down through the cache they share, so that even CPU time
drifts by a tenth.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from regbench.data.sampler import PairSampler
from regbench.runs.plan import make_plan
from regbench.runs.request import Request
from regbench.settings import parse_sets
from regbench.training.cpu_memory import keep_freed_memory
from regbench.training.trainer import Trainer


def milliseconds(call: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    """CPU time and wall clock of each call."""
    spent, passed = [], []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        spent.append(1e3 * (time.process_time() - cpu))
        passed.append(1e3 * (time.perf_counter() - wall))
    return spent, passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registrator", default="mcnet")
    parser.add_argument("--strategy", default="supervised")
    parser.add_argument("--translator")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="SECTION.NAME=VALUE")
    parser.add_argument("--stages", nargs="*", help="names of stages; all by default")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as a run on a CPU does
    with tempfile.TemporaryDirectory() as out:
        request = Request(
            registrator=args.registrator,
            strategy=args.strategy,
            translator=args.translator,
            pairing="online",
            budget=args.budget,
            device="cpu",
            sets=parse_sets(args.sets),
            out=Path(out),
        )
        plan = make_plan(request)
    sampler = PairSampler(plan.pack, plan.protocol, seed=0, device="cpu", labels=plan.labels)
    trainer = Trainer(plan.stages, plan.context.modules, sampler, seed=0, folder=Path())
    for stage in plan.stages:
        if args.stages and stage.name not in args.stages:
            continue
        step = trainer.timed_steps(stage)
        milliseconds(step, args.warm_up)
        spent, passed = milliseconds(step, args.steps)
        alone, _ = milliseconds(lambda stage=stage: sampler.batch(stage.name, 0, stage.batch, stage.views), args.steps)
        print(
            f"{stage.name}, batch {stage.batch}: least {min(spent):.0f} ms, median {statistics.median(spent):.0f} ms, "
            f"wall clock {statistics.median(passed):.0f} ms; sampler {statistics.median(alone):.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
