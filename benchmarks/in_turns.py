"""What whole commands cost in two versions of regbench: CPU seconds, measured in turns.

    python benchmarks/in_turns.py BEFORE/bin/python AFTER/bin/python [--turns 3] [WORK…]

``BEFORE`` and ``AFTER`` are virtual environments, each with one version and its plugins installed. Works:

* ``evaluate``: 10,000 pairs of the embedded data, judged with ``identity``.
* ``prepare``: 400 photographs of 640 x 480 px in the layout of MSCOCO, read and stored.
* ``run``: the first 30 steps of a supervised run of ``mcnet`` at the quick size, and its judging.

Every command starts with an empty folder; the pack that ``evaluate`` and ``run`` need is made before. Prints one JSON
line: for each work the CPU seconds (user and system) of every turn, the least of each version, and their ratio. Other
processes slow a command down through the caches they share, so take the least of several turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

PHOTOGRAPHS = {"train2017": 360, "test2017": 40}
STEPS = ["--set", "strategy.steps=30", "--set", "strategy.decay_steps=10"]
COMMANDS = {
    "evaluate": ["evaluate", "--registrator", "identity", "--budget", "quick", "--set", "protocol.test_pairs=10000"],
    "prepare": ["datasets", "prepare", "mscoco", "--root", "{photographs}"],
    "run": ["run", "--registrator", "mcnet", "--strategy", "supervised", "--budget", "quick", *STEPS],
}


def write_photographs(folder: Path) -> None:
    """JPEG files of smooth noise, in the folders of MSCOCO."""
    drawn = np.random.default_rng(0)
    for split, count in PHOTOGRAPHS.items():
        (folder / split).mkdir(parents=True)
        for number in range(count):
            small = drawn.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            image = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / split / f"{number:012d}.jpg"), image)


def cpu_seconds(python: str, words: list[str], data: Path) -> float:
    """User and system time of a command and its children."""
    environment = os.environ | {"REGBENCH_DATA": str(data), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = [] if words[0] == "datasets" else ["--out", "runs", "--device", "cpu", "-q"]
        ended = subprocess.run(
            [python, "-m", "regbench", *words, *out], cwd=folder, env=environment, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise SystemExit(f"{python} -m regbench {' '.join(words)}: {ended.stderr.strip()[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(COMMANDS)}; default: all")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        photographs = folder / "photographs"
        for work in args.works or COMMANDS:
            words = [word.format(photographs=photographs) for word in COMMANDS[work]]
            if work == "prepare":
                write_photographs(photographs)
            spent: dict[str, list[float]] = {"before": [], "after": []}
            for turn in range(args.turns):
                for side in spent:
                    data = folder / side
                    if work == "prepare":
                        data = folder / f"{side}-{turn}"
                    elif turn == 0:
                        cpu_seconds(getattr(args, side), ["datasets", "prepare", "synthetic"], data)
                    spent[side].append(round(cpu_seconds(getattr(args, side), words, data), 2))
            least = {side: min(seconds) for side, seconds in spent.items()}
            found[work] = spent | {"least": least, "ratio": round(least["after"] / least["before"], 3)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
