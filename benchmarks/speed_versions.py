"""Published-size networks in two versions of regbench, call after call in turns: CPU milliseconds.

    python benchmarks/speed_versions.py mcnet --peer MCNet --before OLD/.venv/bin/python OLD --after .venv/bin/python .

Each version is a Python with regbench installed and the checkout whose ``speed_published.py`` it runs; the peer is
what that script needs for the weights, which both versions share. Prints one JSON line: for each call the least CPU
milliseconds of each version, and their ratio (after / before).
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path


class Version:
    """One version, waiting for calls."""

    def __init__(self, python: str, checkout: str, network: str, peer: Path, threads: int) -> None:
        script = Path(checkout).resolve() / "benchmarks" / "speed_published.py"
        words = [python, str(script), network, "--peer", str(peer), "--threads", str(threads), "--side", "ours"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def cpu_ms(self, call: str, batch: int) -> float:
        """CPU time of a forward pass or a training step."""
        given, said = self.process.stdin, self.process.stdout
        assert given is not None
        assert said is not None
        given.write(json.dumps([call, batch]) + "\n")
        given.flush()
        line = said.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended: see its message above")
        return float(json.loads(line)["cpu_ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("mcnet", "ihn1", "ihn"))
    parser.add_argument("--peer", type=Path, required=True, help="clone of the authors' repository")
    for side in ("--before", "--after"):
        parser.add_argument(side, nargs=2, metavar=("PYTHON", "CHECKOUT"), required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4], help="batch sizes of the forward pass")
    parser.add_argument("--train-batch", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    calls = [("forward", batch) for batch in args.batches] + [("train", args.train_batch)]
    versions = {
        side: Version(*getattr(args, side), args.network, args.peer.resolve(), args.threads)
        for side in ("before", "after")
    }
    found: dict[str, object] = {"network": args.network, "threads": args.threads}
    for call, batch in calls:
        spent: dict[str, list[float]] = {side: [] for side in versions}
        for turn in range(args.turns + 1):
            for side, version in versions.items():
                ms = version.cpu_ms(call, batch)
                if turn:  # the first call of a kind pays for what later ones find made
                    spent[side].append(ms)
        least = {side: round(min(ms), 1) for side, ms in spent.items()}
        found[f"{call}_{batch}"] = least | {"ratio": round(least["after"] / least["before"], 3)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
