"""Speed and memory of MCNet and IHN beside their published code: same weights, same inputs, same threads, one run.

You need a clone of the authors' repository (github.com/zjuzhk/MCNet, github.com/imdumpl78/IHN); nothing of it is part
of this project. MCNet's correlation is a CUDA kernel that needs CuPy and has no CPU form: ``tile_gemm.py`` stands in
for it and, timed as a third side, the plain loop over the 81 shifts. Without ``--checkpoint`` both sides get the same
random weights.

    python benchmarks/speed_published.py mcnet --peer MCNet [--threads 2] [--rounds 9] [--train-rounds 3]
    python benchmarks/speed_published.py ihn --peer IHN        # ihn1: one scale

The sides take turns, A B A B; a ratio is that of their medians, baseline over ours. A training step is forward, L1
loss, backward, clipping and AdamW. Its memory is the peak resident size (Linux) of a process of its own that takes two
steps, less the peak before the first. Ours runs as ``regbench run`` does, which tells glibc to keep freed memory
(regbench/engine/allocator.py), the published code with glibc as it comes; ``--one-allocator`` gives both the former.
Prints one JSON line. Times are wall clock in milliseconds a call; ``cpu_ratio`` is of CPU time, which other work on
the machine disturbs less.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import parity_mcnet
import parity_rhwf
import torch
from tile_gemm import tile_gemm

from regbench.api.types import PairInfo
from regbench.engine.allocator import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory
from regbench.engine.context import RunContext, load_weights
from regbench.engine.plan import choose
from regbench.engine.weights import import_checkpoint
from regbench.metrics.memory import peak_mb
from regbench.metrics.timing import device_sync
from regbench.published import read_published

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
    chosen = choose("registrator", args.name, {}, None)
    ours = RunContext(PairInfo(), args.device, {"registrator": chosen}, 0).registrator()
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder, "theirs.pth"), Path(folder, "ours.safetensors")
        torch.save(theirs.state_dict(), file)
        import_checkpoint(args.name, file, weights)
        load_weights(ours, weights)
    last = 1 if args.name.startswith("ihn") else 0  # theirs hands out its last estimate alone
    theirs.to(args.device)
    return {"ours": (ours, lambda s, t: ours(s, t).displacements[-last:]), "published": (theirs, estimate)}


def correlating(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """What stands in for MCNet's CUDA kernel from here on."""
    sys.modules["corr_implement"].FunctionCorrelation = function


def images(batch: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.rand(batch, 3, 128, 128, generator=generator) for _ in range(2))
    truth = 64 * torch.rand(batch, 4, 2, generator=generator) - 32
    return tuple(x.to(device) for x in (source, target, truth))


def trainer(net: torch.nn.Module, estimate: Estimate, batch: int, device: torch.device) -> Callable[[], float]:
    """A training step; returns the loss."""
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


def allocator(side: str, one: bool) -> None:
    """Memory as this side's users get it: ours as the engine sets it, others as glibc comes."""
    if side == "ours" or one:
        keep_freed_memory()
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # where its own adaptation to large tensors ends
    libc.mallopt(M_TRIM_THRESHOLD, 2**26)
    libc.malloc_trim(0)  # nothing the other side kept is left for this one


def in_turns(
    sides: dict[str, Callable[[], object]], rounds: int, device: torch.device, one: bool
) -> dict[str, dict[str, float]]:
    """Median and interquartile range of each side, after one call of each that does not count."""
    wait = device_sync(device)
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, call in sides.items():
            allocator(name, one)
            wait()
            start, busy = time.perf_counter(), time.process_time()
            call()
            wait()
            if turn:
                wall[name].append(1e3 * (time.perf_counter() - start))
                cpu[name].append(1e3 * (time.process_time() - busy))
    found = {}
    for name, spans in wall.items():
        low, _, high = statistics.quantiles(spans, n=4, method="inclusive") if len(spans) > 1 else (0.0, 0.0, 0.0)
        found[name] = {
            "ms": round(statistics.median(spans), 1),
            "iqr": round(high - low, 1),
            "cpu_ms": round(statistics.median(cpu[name]), 1),
        }
    for name in list(sides)[1:]:
        found[name]["ratio"] = round(found[name]["ms"] / found["ours"]["ms"], 3)
        found[name]["cpu_ratio"] = round(found[name]["cpu_ms"] / found["ours"]["cpu_ms"], 3)
    return found


def forward(args: argparse.Namespace, sides: dict, batch: int, loop: bool) -> dict[str, dict[str, float]]:
    source, target, _ = images(batch, args.device)

    def call(side: str, correlation: Callable = tile_gemm) -> Callable[[], object]:
        def once() -> None:
            if args.name == "mcnet":
                correlating(correlation)
            with torch.no_grad():
                sides[side][1](source, target)

        return once

    calls = {"ours": call("ours"), "published": call("published")}
    if loop:
        calls["shift_loop"] = call("published", parity_mcnet.shift_loop)
    return in_turns(calls, args.rounds, args.device, args.one_allocator)


def memory_of(side: str) -> float:
    """MB that two training steps of a side add, measured in a process of its own."""
    found = subprocess.run([sys.executable, *sys.argv, "--memory", side], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("mcnet", "ihn1", "ihn"))
    parser.add_argument("--peer", type=Path, required=True, help="clone of the authors' repository")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 16], help="of the forward pass")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--train-batch", type=int, default=16)
    parser.add_argument("--train-rounds", type=int, default=3, help="0: no training")
    parser.add_argument("--shift-loop", action="store_true", help="time MCNet's with a loop over shifts too (slow)")
    parser.add_argument("--one-allocator", action="store_true", help="the published code keeps freed memory too")
    parser.add_argument("--memory", choices=("ours", "published"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sides = load(args)
    if args.name == "mcnet":
        correlating(tile_gemm)
    if args.memory:
        allocator(args.memory, args.one_allocator)
        step = trainer(*sides[args.memory], args.train_batch, args.device)
        before = peak_mb()
        step(), step()
        print(peak_mb() - before)
        return
    for net, _ in sides.values():
        net.eval()
    source, target, _ = images(2, args.device)
    with torch.no_grad():
        first, second = (estimate(source, target) for _, estimate in sides.values())
    found: dict[str, object] = {
        "network": args.name,
        "threads": args.threads,
        "parameters": sum(p.numel() for p in sides["ours"][0].parameters()),
        "largest_difference_px": float((first - second).abs().max()),
    }
    for batch in args.batches:
        found[f"forward_{batch}"] = forward(args, sides, batch, args.shift_loop and args.name == "mcnet")
    if args.train_rounds:
        steps = {
            side: trainer(net.train(), estimate, args.train_batch, args.device)
            for side, (net, estimate) in sides.items()
        }
        losses = [step() for step in steps.values()]
        found["loss_difference"] = abs(losses[0] - losses[1])
        found[f"train_{args.train_batch}"] = in_turns(steps, args.train_rounds, args.device, args.one_allocator)
    if args.train_rounds and args.device.type == "cpu":
        peaks = {side: memory_of(side) for side in sides}
        found["memory_mb"] = {side: round(peak) for side, peak in peaks.items()}
        found["memory_ratio"] = round(peaks["ours"] / peaks["published"], 3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
