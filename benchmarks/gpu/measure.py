"""All measurements for a GPU: tests, speed of networks and stages, estimated time of a full run.

    python benchmarks/gpu/measure.py --out DIR [--budget full] [--device cuda] [--peer MCNet] [--skip-tests]

Writes one JSON file per part into DIR, so that an interruption loses only the part in progress. ``summary.json`` holds
the estimated hours of one full run of each strategy, computed from the steps of its stages and their median times, and
the pairs per second of the sampler. ``--peer`` is a clone of MCNet's repository (github.com/zjuzhk/MCNet), timed on the
same device for comparison. With ``--device cpu --budget smoke`` the script runs without a GPU.
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
    """Command of each part, the most important first."""
    bench = [sys.executable, "-m", "regbench", "bench", "--json", "--device", args.device, "--budget", args.budget]
    commands: dict[str, list[str]] = {}
    if not args.skip_tests:
        commands["tests"] = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    for precision in ("fp32", "bf16"):
        for name in NETWORKS:
            commands[f"forward-{name}-{precision}"] = [*bench, "--registrator", name, "--precision", precision]
        for name, roles in STRATEGIES.items():
            short = ["--repeats", "10", "--precision", precision, "--batch", "1"]
            commands[f"training-{name}-{precision}"] = [*bench, "--strategy", name, *roles, *short]
    if args.peer:
        script = [str(BENCHMARKS / "speed_published.py"), "mcnet", "--peer", str(args.peer), "--device", args.device]
        commands["beside-mcnet"] = [sys.executable, *script]
    return commands


def run(name: str, command: list[str], folder: Path, seconds: float) -> dict[str, Any] | None:
    """Run one part; its JSON, None if it failed. The file of a failed part holds its output."""
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, cwd=BENCHMARKS.parent)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        code, out, err = 124, "", f"took longer than {seconds:.0f} s"
    print(f"{name}: exit {code}, {time.monotonic() - start:.0f} s", flush=True)
    start_of_json = out.find("{")
    report = json.loads(out[start_of_json:]) if code == 0 and start_of_json >= 0 else None
    failure = {"exit": code, "command": command[1:], "out": out[-4000:], "err": err[-4000:]}
    text = json.dumps(failure if report is None else report, indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return report


def full_run(bench: dict[str, Any]) -> dict[str, Any]:
    """Hours of a full run: the number of steps of every stage times their median time."""
    steps = {s["name"]: s["steps"] for s in bench["stages"]}
    times = {row["call"].removesuffix(": step"): row for row in bench["rows"] if row["call"].endswith(": step")}
    samplers = [row for row in bench["rows"] if row["call"].endswith(": sampler")]
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
    parser.add_argument("--only", default="", help="run only the parts whose name begins with this")
    parser.add_argument("--seconds", type=float, default=180, help="time limit of a part")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {}
    for name, command in parts(args).items():
        if not name.startswith(args.only):
            continue
        report = run(name, command, args.out, args.seconds)
        if report and name.startswith("training-"):
            summary[name.removeprefix("training-")] = full_run(report)
            (args.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
