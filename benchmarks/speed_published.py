"""Speed and memory of MCNet and IHN compared with their published code: same weights, inputs and threads, one run.

You need a clone of the authors' repository (github.com/zjuzhk/MCNet, github.com/imdumpl78/IHN); no part of it belongs
to this project. MCNet's correlation is a CUDA kernel that needs CuPy and has no CPU version; ``tile_gemm.py`` replaces
it. ``--shift-loop`` also times a third side, in which a plain loop over the 81 shifts replaces the kernel. Without
``--checkpoint`` both sides get the same random weights.

    python benchmarks/speed_published.py mcnet --peer MCNet [--threads 2] [--rounds 9] [--train-rounds 3]
    python benchmarks/speed_published.py ihn --peer IHN        # ihn1: one scale

Each side is a separate process, and the sides run alternately, A B A B. A ratio is the median of the published side
over that of regbench. A training step is forward, L1 loss, backward, clipping and AdamW. Its memory is the peak
resident size (Linux) after two steps, minus the peak before the first. The side of regbench tells glibc to keep freed
memory, as ``regbench run`` does (regbench/training/cpu_memory.py); the published side uses glibc's defaults.
``--allocator`` gives both sides the same setting. Prints one JSON line. Times are wall clock in milliseconds per call;
``cpu_ratio`` is the ratio of CPU times, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import parity_mcnet
import parity_rhwf
import torch
from tile_gemm import tile_gemm

from regbench.metrics.memory import peak_mb
from regbench.metrics.timing import device_sync
from regbench.runs.build import registrator_alone
from regbench.runs.request import configure
from regbench.tools.import_weights import import_checkpoint
from regbench.training.cpu_memory import first_step_allocation, keep_freed_memory
from regbench.weights.files import load_weights
from regbench.weights.published import read_published

Estimate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Source and target ``(B, 3, 128, 128)`` in [0, 1] to estimates ``(K, B, 4, 2)``."""


def published_mcnet(repository: Path) -> tuple[torch.nn.Module, Estimate]:
    net = parity_mcnet.published(repository, None)
    return net, lambda source, target: torch.stack(net({"patch_img1_warp": source, "patch_img2": target}))


def published_ihn(repository: Path, scales: int) -> tuple[torch.nn.Module, Estimate]:
    sys.path.insert(0, str(repository.resolve()))
    parity_rhwf.stand_ins()
    from network import IHN

    net = IHN(SimpleNamespace(gpuid=[0], lev0=True, lev1=scales == 2, weight=False, mixed_precision=False))
    return net, lambda source, target: net(255 * source, 255 * target).permute(0, 2, 3, 1).reshape(1, -1, 4, 2)


def load(args: argparse.Namespace) -> dict[str, tuple[torch.nn.Module, Estimate]]:
    """Both networks with the same weights, by side, on the device."""
    torch.manual_seed(0)
    if args.name == "mcnet":
        theirs, estimate = published_mcnet(args.peer)
    else:
        theirs, estimate = published_ihn(args.peer, 1 if args.name == "ihn1" else 2)
    if args.checkpoint:
        theirs.load_state_dict({k.removeprefix("module."): v for k, v in read_published(args.checkpoint).items()})
    ours = registrator_alone(configure("registrator", args.name), device=args.device)
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder, "theirs.pth"), Path(folder, "ours.safetensors")
        torch.save(theirs.state_dict(), file)
        import_checkpoint(args.name, file, weights)
        load_weights(ours, weights)
    last = 1 if args.name.startswith("ihn") else 0  # the published IHN returns only its last estimate
    theirs.to(args.device)
    return {"ours": (ours, lambda s, t: ours(s, t).displacements[-last:]), "published": (theirs, estimate)}


def replace_correlation(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """Replace MCNet's CUDA kernel."""
    sys.modules["corr_implement"].FunctionCorrelation = function


def images(batch: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Noise as source and target, and random displacements within 32 px."""
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.rand(batch, 3, 128, 128, generator=generator) for _ in range(2))
    truth = 64 * torch.rand(batch, 4, 2, generator=generator) - 32
    return tuple(x.to(device) for x in (source, target, truth))


def training_step(net: torch.nn.Module, estimate: Estimate, batch: int, device: torch.device) -> Callable[[], float]:
    """A function that runs one training step and returns its loss."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-4, weight_decay=1e-5)
    source, target, truth = images(batch, device)

    def step() -> float:
        optimiser.zero_grad()
        loss = (estimate(source, target) - truth).abs().mean(dim=(1, 2, 3)).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        return float(loss.detach())

    return step


def serve(args: argparse.Namespace) -> None:
    """Run one side: answer each line ``[call, batch]`` on the standard input with one JSON line."""
    if args.allocator == "keep" or (args.allocator == "each" and args.side == "ours"):
        keep_freed_memory()
    sides = load(args)
    net, estimate = sides.pop("published" if args.side == "shift_loop" else args.side)
    sides.clear()
    if args.name == "mcnet":
        replace_correlation(parity_mcnet.shift_loop if args.side == "shift_loop" else tile_gemm)
    step, before, wait = None, 0.0, device_sync(args.device)
    for line in sys.stdin:
        call, batch = json.loads(line)
        source, target, _ = images(batch, args.device)
        first = call == "train" and step is None
        if first:
            step, before = training_step(net.train(), estimate, batch, args.device), peak_mb()
        elif call != "train":
            net.eval()
        wait()
        start, busy = time.perf_counter(), time.process_time()
        if step is not None:
            with (
                first_step_allocation() if first else nullcontext()
            ):  # as the trainer does; nothing where nothing is kept
                value: object = step()
        else:
            with torch.no_grad():
                value = estimate(source, target)
        wait()
        answer = {"ms": 1e3 * (time.perf_counter() - start), "cpu_ms": 1e3 * (time.process_time() - busy)}
        answer |= {"mb": peak_mb() - before, "parameters": sum(p.numel() for p in net.parameters())}
        if isinstance(value, float):
            answer["value"] = value
        elif call == "compare":
            answer["value"] = value[-1].tolist()
        print(json.dumps(answer), flush=True)


class Sides:
    """The processes of the sides; they end with the ``with`` block."""

    def __init__(self, names: list[str]) -> None:
        command = [sys.executable, *sys.argv]
        self.processes = {
            name: subprocess.Popen([*command, "--side", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for name in names
        }

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.stdin.close()
            process.wait()

    def ask(self, name: str, call: str, batch: int) -> dict:
        """Let a side run one call; its answer."""
        process = self.processes[name]
        process.stdin.write(json.dumps([call, batch]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise SystemExit(f"{name} ended in {call}, batch {batch}: see its message above")
        return json.loads(answer)

    def in_turns(self, call: str, batch: int, rounds: int) -> dict[str, dict[str, float]]:
        """Median and interquartile range of each side, after a first call of each that is not counted."""
        by_side: dict[str, list[dict]] = {name: [] for name in self.processes}
        for turn in range(rounds + 1):
            for name, answers in by_side.items():
                answer = self.ask(name, call, batch)
                if turn:
                    answers.append(answer)
        summary: dict[str, dict[str, float]] = {}
        for name, answers in by_side.items():
            ms = [a["ms"] for a in answers]
            low, _, high = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else (0.0, 0.0, 0.0)
            summary[name] = {
                "ms": round(statistics.median(ms), 1),
                "iqr": round(high - low, 1),
                "cpu_ms": round(statistics.median(a["cpu_ms"] for a in answers), 1),
            }
        ours = summary["ours"]
        for name in list(summary)[1:]:
            summary[name]["ratio"] = round(summary[name]["ms"] / ours["ms"], 3)
            summary[name]["cpu_ratio"] = round(summary[name]["cpu_ms"] / ours["cpu_ms"], 3)
        return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("mcnet", "ihn1", "ihn"))
    parser.add_argument("--peer", type=Path, required=True, help="clone of the authors' repository")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16], help="batch sizes of the forward pass")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--train-batch", type=int, default=16)
    parser.add_argument("--train-rounds", type=int, default=3, help="0: do not time training")
    parser.add_argument("--shift-loop", action="store_true", help="also time MCNet with a loop over shifts (slow)")
    parser.add_argument(
        "--allocator",
        choices=("each", "keep", "glibc"),
        default="each",
        help="each side's default; or both sides keep freed memory; or both sides use glibc's defaults",
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.side:
        serve(args)
        return
    report: dict[str, object] = {"network": args.name, "threads": args.threads}
    loop = ["shift_loop"] if args.shift_loop and args.name == "mcnet" else []
    with Sides(["ours", "published", *loop]) as sides:
        first, second = (sides.ask(name, "compare", 2) for name in ("ours", "published"))
        difference = torch.tensor(first["value"]) - torch.tensor(second["value"])
        report |= {"parameters": first["parameters"], "largest_difference_px": float(difference.abs().max())}
        for batch in args.batches:
            report[f"forward_{batch}"] = sides.in_turns("forward", batch, args.rounds)
    if args.train_rounds:
        with Sides(["ours", "published"]) as sides:
            steps = {name: [sides.ask(name, "train", args.train_batch) for _ in range(2)] for name in sides.processes}
            report["loss_difference"] = abs(steps["ours"][0]["value"] - steps["published"][0]["value"])
            if args.device.type == "cpu":
                peaks = {name: answers[-1]["mb"] for name, answers in steps.items()}
                report["memory_mb"] = {name: round(peak) for name, peak in peaks.items()}
                report["memory_ratio"] = round(peaks["ours"] / peaks["published"], 3)
            report[f"train_{args.train_batch}"] = sides.in_turns("train", args.train_batch, args.train_rounds)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
