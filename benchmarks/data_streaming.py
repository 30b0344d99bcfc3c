"""A pack larger than the memory it may use: streamed under a cap, beside the same pack resident without one.

    python benchmarks/data_streaming.py [--megabytes 2048] [--cap 512] [--seconds 20] [--batch 16]

Makes a pack of noise, then runs the sampler in processes of their own: resident without a cap; resident under the cap,
which must fail (the cap is real); streamed under the cap, with the file in the page cache and after asking the system
to drop it. The cap is RLIMIT_DATA, on all memory the process takes itself once its libraries are loaded; the page
cache is the system's and not in it.

Prints one JSON line; ratio_warm and ratio_cold are the streamed rates over the resident one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE = 192


def make(path: Path, megabytes: int) -> None:
    """A pack whose training split holds this much, written a block at a time."""
    import numpy as np

    from regbench.api.config import ComponentConfig
    from regbench.api.dataset import Card, Dataset, PairImages
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


def child(path: Path, batch: int, seconds: float, cap: int) -> None:
    """Draw batches for a while and say how fast."""
    import torch

    from regbench.config import Protocol
    from regbench.data.pack import Pack
    from regbench.data.sampler import PairSampler
    from regbench.engine.plan import device_of
    from regbench.metrics.memory import peak_mb

    device_of("cpu")  # memory as a run has it
    libraries = round(peak_mb(), 1)
    if cap:
        limit(cap)
    sampler = PairSampler(Pack.open(path), Protocol(pairing="online"), seed=0, labels=True)
    step = 0
    for most in (1.0, seconds):
        start, first = time.perf_counter(), step
        while (spent := time.perf_counter() - start) < most:
            sampler.batch("s", step, batch, ("pair",))
            step += 1
    told = {"rate": round((step - first) * batch / spent, 1), "kind": type(sampler._source).__name__}
    told |= {"libraries_mb": libraries, "peak_mb": round(peak_mb(), 1)}
    print(json.dumps(told | {"threads": torch.get_num_threads()}))


def limit(cap: int) -> None:
    """Let this process take ``cap`` more mebibytes of memory, and no more."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    most = int(facts["VmData"].split()[0]) * 1024 + cap * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def run(args: argparse.Namespace, path: Path, resident_mb: int, cap: int) -> dict | None:
    """What a child says, None where it ran out of memory; a cap of 0 is none."""
    options = {"--child": path, "--batch": args.batch, "--seconds": args.seconds, "--cap": cap}
    done = subprocess.run(
        [sys.executable, __file__, *(str(part) for option in options.items() for part in option)],
        env=os.environ | {"REGBENCH_RESIDENT_MB": str(resident_mb)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        memory = "memory" in done.stderr.lower()
        if not memory:
            raise SystemExit(done.stderr)
        return None
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--cap", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where the pack is made; default: the system's temporary folder")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.batch, args.seconds, args.cap)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "noise.h5"
        make(path, args.megabytes)
        resident = run(args, path, 2**20, 0)
        capped = run(args, path, 2**20, args.cap)
        warm = run(args, path, 0, args.cap)
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        cold = run(args, path, 0, args.cap)
    assert resident
    found = {"resident": resident, "resident_under_cap": capped, "streamed_warm": warm, "streamed_cold": cold}
    for name, streamed in (("ratio_warm", warm), ("ratio_cold", cold)):
        found[name] = round(streamed["rate"] / resident["rate"], 3) if streamed else None
    print(json.dumps(found | {"megabytes": args.megabytes, "cap_mb": args.cap}))


if __name__ == "__main__":
    main()
