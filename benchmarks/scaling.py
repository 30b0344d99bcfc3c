"""Time and memory against batch size, image size and number of test pairs; resident memory during evaluation.

    python benchmarks/scaling.py [--registrator mcnet] [--threads 2] [--plot scaling.png] [--evaluations 10000]

Each measurement runs in a separate process. ``forward`` and ``step`` (forward, loss, backward) are timed on noise: the
median of three calls after a first call that is not counted. Memory is the increase of the peak resident size during
these calls (Linux). ``manifest`` builds the frozen test pairs of a pack and extracts batches of 16 from their end.
``evaluations`` registers the given number of batches with a small network and reads the resident size at intervals; it
must not grow. Prints markdown tables and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regbench.metrics.memory import peak_mb, status_mb

BATCHES, SIDES, ENTRIES = (1, 2, 4, 8, 16, 32), (32, 64, 128, 256), (1_000, 10_000, 100_000, 1_000_000)
WINDOWS = 20
"""Number of readings of the resident size during the evaluations."""


def cost(call: Callable[[], object], repeats: int = 3) -> dict[str, float]:
    """Median milliseconds of a call after a first one that is not counted, and MB added to the peak by all calls."""
    before, spans = peak_mb(), []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        call()
        if turn:
            spans.append(1e3 * (time.perf_counter() - start))
    return {"ms": round(statistics.median(spans), 2), "mb": round(peak_mb() - before, 1)}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the measurement for which this process was started."""
    import torch

    torch.set_num_threads(args.threads)
    if args.point == "network":
        return network(args.registrator, **args.parameters)
    if args.point == "manifest":
        return manifest(**args.parameters)
    return evaluations(**args.parameters)


def network(name: str, batch: int, side: int, budget: str) -> dict[str, Any]:
    """Cost of a forward pass and of a training step without the optimiser."""
    import torch

    from regbench import PairInfo
    from regbench.runs.build import registrator_alone
    from regbench.runs.request import configure
    from regbench.settings import budget_of

    configured = configure("registrator", name, budget=budget_of(budget))
    net = registrator_alone(configured, PairInfo(patch=side, rho=side // 4))
    source, target = torch.rand(2, batch, 3, side, side).unbind()
    label = torch.rand(batch, 4, 2) * side / 4

    def forward() -> None:
        with torch.inference_mode():
            net.eval()(source, target)

    def step() -> None:
        net.train().loss(net(source, target), label).backward()
        net.zero_grad()

    return {"forward": cost(forward), "step": cost(step)}


def manifest(entries: int) -> dict[str, Any]:
    """Cost of building at least this many test pairs, and of extracting the last batch of them."""
    from regbench.data.manifest import test_manifest
    from regbench.data.packs.prepare import ensure
    from regbench.data.protocol import Protocol
    from regbench.data.test_pairs import TestPairs

    pack, protocol = ensure("synthetic"), Protocol(patch=64, rho=16, test_pairs=entries)
    made: list[Any] = [None]

    def build() -> None:
        made[0] = test_manifest(pack, protocol)

    building = cost(build, repeats=1)
    test_pairs = TestPairs(pack, made[0], protocol)
    last = len(made[0].draws)
    return {"entries": last, "build": building, "batch": cost(lambda: test_pairs.images(last - 16, last), repeats=20)}


def evaluations(batches: int) -> dict[str, Any]:

    from regbench.data.manifest import test_manifest
    from regbench.data.packs.prepare import ensure
    from regbench.data.protocol import Protocol
    from regbench.data.sampler import pair_info
    from regbench.data.test_pairs import TestPairs
    from regbench.evaluation.evaluator import Evaluator
    from regbench.runs.build import registrator_alone
    from regbench.runs.request import configure
    from regbench.settings import budget_of

    pack, protocol = ensure("synthetic"), Protocol(patch=64, rho=16, test_pairs=16 * max(1, batches // WINDOWS))
    configured = configure("registrator", "mcnet", {"preset": "tiny"}, budget_of("quick"))
    net = registrator_alone(configured, pair_info(pack, protocol))
    test_pairs = TestPairs(pack, test_manifest(pack, protocol), protocol)
    evaluator = Evaluator(test_pairs)
    resident = []
    for _ in range(WINDOWS):
        evaluator.estimates(net)
        resident.append(round(status_mb("VmRSS"), 1))
    return {"batches": WINDOWS * -(-len(test_pairs) // 16), "resident_mb": resident}


def in_process(args: argparse.Namespace, kind: str, **parameters: Any) -> dict[str, Any]:
    """Run one measurement in a separate process; its parameters with its figures."""
    command = [sys.executable, __file__, "--registrator", args.registrator, "--threads", str(args.threads)]
    command += ["--point", kind, "--parameters", json.dumps(parameters)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"{kind} {parameters}: {process.stderr.strip().splitlines()[-1]}")
    return parameters | json.loads(process.stdout.splitlines()[-1])


def plot(series: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw time in the upper row and memory in the lower row."""
    from matplotlib.figure import Figure

    columns = (
        ("by_batch", "batch", ("forward", "step")),
        ("by_side", "side", ("forward", "step")),
        ("by_entries", "entries", ("build", "batch")),
    )
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, len(columns))
    for column, (name, along, calls) in enumerate(columns):
        places = [p[along] for p in series[name]]
        for axis, unit in zip(axes[:, column], ("ms", "mb"), strict=True):
            for call in calls:
                axis.plot(places, [max(p[call][unit], 1) for p in series[name]], "o-", label=call)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylim(bottom=1)
            axis.set_xticks(places, [f"{place:,}" for place in places])
            axis.minorticks_off()
            axis.set(xlabel="test pairs" if along == "entries" else along, ylabel="ms" if unit == "ms" else "MB")
            axis.legend()
    figure.savefig(path, dpi=100)


def tables(series: dict[str, list[dict[str, Any]]]) -> str:
    from tabulate import tabulate

    parts = []
    for rows in series.values():
        flat = [{k: v for k, v in p.items() if not isinstance(v, dict)} for p in rows]
        for row, p in zip(flat, rows, strict=True):
            for call, values in p.items():
                if isinstance(values, dict):
                    row |= {f"{call}, {unit}": value for unit, value in values.items()}
        parts.append(tabulate(flat, headers="keys", tablefmt="github"))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registrator", default="mcnet")
    parser.add_argument("--budget", default="full")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--evaluations", type=int, default=10_000, help="batches; 0: none")
    parser.add_argument("--point", choices=("network", "manifest", "evaluations"), help=argparse.SUPPRESS)
    parser.add_argument("--parameters", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(measure(args)))
        return
    series = {
        "by_batch": [in_process(args, "network", budget=args.budget, side=128, batch=batch) for batch in BATCHES],
        "by_side": [in_process(args, "network", budget=args.budget, side=side, batch=4) for side in SIDES],
        "by_entries": [in_process(args, "manifest", entries=entries) for entries in ENTRIES],
    }
    print(tables(series))
    if args.plot:
        plot(series, args.plot)
    report: dict[str, Any] = dict(series)
    if args.evaluations:
        report["evaluations"] = in_process(args, "evaluations", batches=args.evaluations)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
