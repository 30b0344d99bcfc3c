"""Everything a few minutes on a borrowed GPU can tell, in one process.

    python -m benchmarks.gpu.short_run --out DIR                  # the first one: measurements, then a training cell
    python -m benchmarks.gpu.short_run --out DIR2 --after DIR     # the next one: what DIR/next.json says
    python -m benchmarks.gpu.short_run --out DIR --device cpu --until 240 --rehearse      # tiny, without a GPU

Run it in the root of the checkout. It needs no network and no weights; ``wheels.txt`` lists what to bring. The first
run measures the device, compares it with the CPU, times published stages and begins the first training cell; every
later one trains the cells that stand first in the queue. ``run.json`` is written after each part, so that a run that is
cut off loses the part in progress alone; a part that fails is a line in it. At most seven files are written:
``run.json``, ``next.json`` and shards of weights of at most 15 MB.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.cells import Training
from benchmarks.gpu.kept import Kept, seconds
from benchmarks.gpu.parts import Parts
from benchmarks.gpu.runs import PUBLISHED, REHEARSAL

LAST = 15.0
"""Seconds that are left for the last look and for writing."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--after", type=Path, help="folder of the last short run")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--until", type=float, default=540, help="seconds from the start of the process to its end")
    parser.add_argument("--skip", default="", help="names of parts, by their first letters, comma-separated")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, to try the script")
    args = parser.parse_args()
    kept = Kept(args.out, args.until, tuple(name for name in args.skip.split(",") if name))
    cuda = args.device.startswith("cuda")
    kept.keep("with", {"torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu"})
    size, precision = (REHEARSAL, "fp32") if args.rehearse else (PUBLISHED, "bf16")
    training = Training(kept, args.after, size, args.device, precision)
    parts = Parts(kept, args.device, args.rehearse)
    kept.part("ceilings", parts.ceilings)
    if args.after is None:
        kept.part("tests", parts.tests)
        kept.part("agreement", parts.agreement)
        kept.part("ihn at its published batch", parts.ihn_at_its_batch)
        kept.part("evaluation", parts.evaluation)
        kept.part("times", parts.times)
    names = training.progress.queue[0] if training.progress.queue else []
    for place, name in enumerate(names):
        share = (args.until - LAST - seconds()) / (len(names) - place)
        until = seconds() + share
        kept.part(f"cell {name}", partial(training.cell, name, until))
    kept.part("handed over", training.hand_over, always=True)


if __name__ == "__main__":
    main()
