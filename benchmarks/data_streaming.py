"""Rate of the sampler on a streamed pack under a memory limit, compared with the same pack resident without a limit.

    python benchmarks/data_streaming.py [--megabytes 2048] [--cap 512] [--turns 15] [--batch 16]

The script makes a pack of noise and runs the sampler in separate processes: resident without a limit; resident under
the limit, which must fail and so proves that the limit works; streamed under the limit. The limit is RLIMIT_DATA. It
applies to all memory that the process allocates after its libraries are loaded, but not to the page cache of the
system. The processes sample alternately, each for a second, because the rate of one process drifts by a third on a
shared machine. Before a cold turn, the system drops the file from its cache.

Prints one JSON line; ratio_warm and ratio_cold are the streamed median rates over the resident one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SIDE = 192


def make_pack(path: Path, megabytes: int) -> None:
    """Write a pack of noise whose training split has this size."""
    import numpy as np

    from regbench import Card, ComponentConfig, Dataset, PairImages
    from regbench.data.packs.prepare import prepare

    count = megabytes * 2**20 // (2 * SIDE * SIDE * 3)
    noise = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE, 3), dtype=np.uint8)

    class Noise(Dataset):
        card = Card(**dict.fromkeys(Card.model_fields, "noise") | {"modalities": ("a", "b")})

        def keys(self, split):
            return [f"{split}{i}" for i in range(count if split == "train" else 1)]

        def read(self, split, key):
            i = int(key.removeprefix(split))
            return PairImages(noise[i % 64], noise[(i + 1) % 64])

    prepare(Noise(ComponentConfig(), None), "noise", "1", path)


def sample_on_request(path: Path, batch: int, cap: int) -> None:
    """For each line on the standard input, draw batches for a second and print rate and memory as JSON."""
    import torch

    from regbench.data.packs.pack import Pack
    from regbench.data.protocol import Protocol
    from regbench.data.sampler import PairSampler
    from regbench.metrics.memory import peak_mb
    from regbench.training.cpu_memory import keep_freed_memory

    keep_freed_memory()  # memory as a run has it
    libraries = round(peak_mb(), 1)
    if cap:
        limit_memory(cap)
    sampler = PairSampler(Pack.open(path), Protocol(pairing="online"), seed=0, labels=True)
    setting = {"kind": type(sampler._source).__name__, "threads": torch.get_num_threads(), "libraries_mb": libraries}
    step = 0
    for _ in sys.stdin:
        start, first = time.perf_counter(), step
        while (elapsed := time.perf_counter() - start) < 1:
            sampler.batch("s", step, batch, ("pair",))
            step += 1
        rate = round((step - first) * batch / elapsed, 1)
        print(json.dumps(setting | {"rate": rate, "peak_mb": round(peak_mb(), 1)}), flush=True)


def limit_memory(cap: int) -> None:
    """Limit this process to ``cap`` mebibytes more than it has now (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = int(status["VmData"].split()[0]) * 1024 + cap * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class SamplerProcess:
    """The sampler in a separate process."""

    def __init__(self, args: argparse.Namespace, path: Path, resident_mb: int, cap: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", str(path), "--batch", str(args.batch), "--cap", str(cap)],
            env=os.environ | {"REGBENCH_RESIDENT_MB": str(resident_mb)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.rates: list[float] = []
        self.report: dict = {}

    def turn(self) -> bool:
        """Sample for a second; False if the process ran out of memory."""
        with suppress(BrokenPipeError):
            print(file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            if "memory" not in (message := self._process.stderr.read()).lower():
                raise SystemExit(message)
            return False
        self.report = json.loads(line)
        self.rates.append(self.report.pop("rate"))
        return True

    def end(self) -> dict:
        """Stop the process; return its last report with the median rate."""
        self._process.communicate()
        return self.report | {"rate": round(statistics.median(self.rates), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--cap", type=int, default=512)
    parser.add_argument("--turns", type=int, default=15, help="turns of one second for each process")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="folder for the pack; default: the system's temporary folder")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        sample_on_request(args.child, args.batch, args.cap)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "noise.h5"
        make_pack(path, args.megabytes)
        report: dict = {"resident_under_cap": SamplerProcess(args, path, 2**20, args.cap).turn()}
        sides = {
            "resident": SamplerProcess(args, path, 2**20, 0),
            "streamed_warm": SamplerProcess(args, path, 0, args.cap),
            "streamed_cold": SamplerProcess(args, path, 0, args.cap),
        }
        for turn in range(args.turns + 1):
            for name, side in sides.items():
                if name == "streamed_cold":
                    with path.open("rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                elif name == "streamed_warm":
                    with path.open("rb") as file:
                        while file.read(2**24):
                            pass
                side.turn()
                if not turn:  # the first turn warms up
                    side.rates.clear()
        report |= {name: side.end() for name, side in sides.items()}
    for name in ("warm", "cold"):
        report[f"ratio_{name}"] = round(report[f"streamed_{name}"]["rate"] / report["resident"]["rate"], 3)
    print(json.dumps(report | {"megabytes": args.megabytes, "cap_mb": args.cap}))


if __name__ == "__main__":
    main()
