"""What is to be known of a GPU, in one go: tests, speed of networks and stages, what a full run would take.

    python benchmarks/gpu/measure.py --out DIR [--budget full] [--device cuda] [--peer MCNet] [--skip-tests]

Writes one JSON file a part into DIR, so that a machine that is taken away loses the part at work alone, and
``summary.json``: the estimated hours of one full run of each strategy, from the steps of its stages and their median
times, and pairs a second of the sampler. ``--peer`` is a clone of MCNet's repository (github.com/zjuzhk/MCNet), timed
beside ours on the same device. With ``--device cpu --budget smoke`` the script runs where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent
STRATEGIES = {
    "supervised": ["--registrator", "mcnet"],
    "sshnet": ["--registrator", "ihn-lite", "--translator", "swin-unet"],
    "alto": ["--registrator", "mcnet"],
    "scpnet": ["--registrator", "mcnet"],
    "colreg": ["--registrator", "mcnet", "--translator", "mimgcd"],
}
NETWORKS = ("mcnet", "ihn1", "ihn")


def parts(args: argparse.Namespace) -> dict[str, list[str]]:
    """Command of each part, in order of worth."""
    bench = [sys.executable, "-m", "regbench", "bench", "--json", "--device", args.device, "--budget", args.budget]
    found: dict[str, list[str]] = {}
    if not args.skip_tests:
        found["tests"] = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    for precision in ("fp32", "bf16"):
        for name in NETWORKS:
            found[f"forward-{name}-{precision}"] = [*bench, "--registrator", name, "--precision", precision]
        for name, roles in STRATEGIES.items():
            short = ["--repeats", "10", "--precision", precision, "--batch", "1"]
            found[f"training-{name}-{precision}"] = [*bench, "--strategy", name, *roles, *short]
    if args.peer:
        beside = [str(BENCHMARKS / "speed_published.py"), "mcnet", "--peer", str(args.peer), "--device", args.device]
        found["beside-mcnet"] = [sys.executable, *beside]
    return found


def run(name: str, command: list[str], folder: Path, seconds: float) -> dict[str, Any] | None:
    """One part; its JSON, None where it failed. What it printed is kept either way."""
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=BENCHMARKS.parent)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        code, out, err = 124, "", f"took longer than {seconds:.0f} s"
    print(f"{name}: exit {code}, {time.monotonic() - start:.0f} s", flush=True)
    start_of_json = out.find("{")
    found = json.loads(out[start_of_json:]) if code == 0 and start_of_json >= 0 else None
    text = {"exit": code, "command": command[1:], "out": out[-4000:], "err": err[-4000:]} if found is None else found
    (folder / f"{name}.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return found


def hours(found: dict[str, Any]) -> dict[str, Any]:
    """What a whole run takes: every stage's steps at its median."""
    steps = {s["name"]: s["steps"] for s in found["stages"]}
    times = {row["call"].removesuffix(": step"): row for row in found["rows"] if row["call"].endswith(": step")}
    samplers = [row for row in found["rows"] if row["call"].endswith(": sampler")]
    return {
        "hours": round(sum(steps[name] * row["median_ms"] for name, row in times.items()) / 3.6e6, 3),
        "stages": {name: {"steps": steps[name], "ms": row["median_ms"]} for name, row in times.items()},
        "sampler_pairs_per_s": max(row["pairs_per_s"] for row in samplers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", default="full")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--only", default="", help="parts whose name begins with this")
    parser.add_argument("--seconds", type=float, default=180, help="most that a part may take")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {}
    for name, command in parts(args).items():
        if not name.startswith(args.only):
            continue
        found = run(name, command, args.out, args.seconds)
        if found and name.startswith("training-"):
            summary[name.removeprefix("training-")] = hours(found)
            (args.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
