"""A pack larger than the memory it may use: streamed under a cap, beside the same pack resident without one.

    python benchmarks/data_streaming.py [--megabytes 2048] [--cap 512] [--turns 15] [--batch 16]

Makes a pack of noise, then runs the sampler in processes of their own: resident without a cap; resident under the cap,
which must fail (the cap is real); streamed under the cap. The cap is RLIMIT_DATA, on all memory the process takes
itself once its libraries are loaded; the page cache is the system's and not in it. Resident and streamed take turns of
a second: rates of one process drift by a third on a shared machine. In a cold turn the system was asked to drop the
file from its cache just before.

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


def make(path: Path, megabytes: int) -> None:
    """A pack whose training split holds this much, written a block at a time."""
    import numpy as np

    from regbench import Card, ComponentConfig, Dataset, PairImages
    from regbench.data.pack import prepare

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


def child(path: Path, batch: int, cap: int) -> None:
    """Draw batches for a second whenever a line comes in, and say how fast."""
    import torch

    from regbench.data.pack import Pack
    from regbench.data.protocol import Protocol
    from regbench.data.sampler import PairSampler
    from regbench.metrics.memory import peak_mb
    from regbench.training.cpu_memory import keep_freed_memory

    keep_freed_memory()  # memory as a run has it
    libraries = round(peak_mb(), 1)
    if cap:
        limit(cap)
    sampler = PairSampler(Pack.open(path), Protocol(pairing="online"), seed=0, labels=True)
    told = {"kind": type(sampler._source).__name__, "threads": torch.get_num_threads(), "libraries_mb": libraries}
    step = 0
    for _ in sys.stdin:
        start, first = time.perf_counter(), step
        while (spent := time.perf_counter() - start) < 1:
            sampler.batch("s", step, batch, ("pair",))
            step += 1
        rate = round((step - first) * batch / spent, 1)
        print(json.dumps(told | {"rate": rate, "peak_mb": round(peak_mb(), 1)}), flush=True)


def limit(cap: int) -> None:
    """Let this process take ``cap`` more mebibytes of memory, and no more."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    most = int(facts["VmData"].split()[0]) * 1024 + cap * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


class Sampling:
    """The sampler in a process of its own."""

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
        self.told: dict = {}

    def turn(self) -> bool:
        """Sample for a second; False where the process ran out of memory."""
        with suppress(BrokenPipeError):
            print(file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            if "memory" not in (said := self._process.stderr.read()).lower():
                raise SystemExit(said)
            return False
        self.told = json.loads(line)
        self.rates.append(self.told.pop("rate"))
        return True

    def end(self) -> dict:
        """Stop it; what it said, with its median rate."""
        self._process.communicate()
        return self.told | {"rate": round(statistics.median(self.rates), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--cap", type=int, default=512)
    parser.add_argument("--turns", type=int, default=15, help="of a second, of each")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where the pack is made; default: the system's temporary folder")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.batch, args.cap)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "noise.h5"
        make(path, args.megabytes)
        found: dict = {"resident_under_cap": Sampling(args, path, 2**20, args.cap).turn()}
        sides = {
            "resident": Sampling(args, path, 2**20, 0),
            "streamed_warm": Sampling(args, path, 0, args.cap),
            "streamed_cold": Sampling(args, path, 0, args.cap),
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
                if not turn:
                    side.rates.clear()
        found |= {name: side.end() for name, side in sides.items()}
    for name in ("warm", "cold"):
        found[f"ratio_{name}"] = round(found[f"streamed_{name}"]["rate"] / found["resident"]["rate"], 3)
    print(json.dumps(found | {"megabytes": args.megabytes, "cap_mb": args.cap}))


if __name__ == "__main__":
    main()
