"""Small commands of every kind, and whether what they left is what an undisturbed one leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regbench.disk import _LEFTOVER
from regbench.results.pairs import read_pairs
from regbench.weights.files import read_tensors

DATA = ["--set", "dataset.train=6", "--set", "dataset.test=6", "--set", "dataset.size=112"]
SHORT = ["--set", "strategy.steps=6", "--set", "strategy.batch=4"]
EVERY_STEP = ["--set", "run.checkpoint_seconds=0"]
_COLREG = ["run", "--registrator", "dhn", "--strategy", "colreg", "--set", "strategy.rounds=1",
           *(word for part in ("self", "student", "refine") for word in ("--set", f"strategy.{part}_steps=2")),
           "--set", "translator.steps=3", *EVERY_STEP]  # fmt: skip
COMMANDS: dict[str, list[str]] = {
    "supervised": ["run", "--registrator", "dhn", "--strategy", "supervised", *SHORT, *EVERY_STEP],
    "colreg": [*_COLREG, "--translator", "mimgcd", "--set", "translator.base=8"],
    "sshnet": ["run", "--registrator", "mcnet", "--strategy", "sshnet", "--translator", "unet", *SHORT, *EVERY_STEP],
    "cudhn": ["run", "--registrator", "mcnet", "--strategy", "cudhn", *SHORT, *EVERY_STEP],
    "cut": [*_COLREG, "--translator", "cut", "--set", "translator.width=4"],
    "judged": ["evaluate", "--registrator", "sift"],
}  # fmt: skip


def command(name: str, out: Path | str, *more: str) -> list[str]:
    """The command line of one of them."""
    return [*COMMANDS[name], "--budget", "smoke", *DATA, "--out", str(out), "--device", "cpu", "-q", "--json", *more]


def run_in(out: Path) -> Path:
    """The only run directory in a folder."""
    (found,) = [path for path in out.iterdir() if path.is_dir()]
    return found


def difference(run: Path, whole: Path) -> str:
    """What of a finished run is not as an undisturbed one left it; empty where all is."""
    ours, theirs = (json.loads((each / "result.json").read_text()) for each in (run, whole))
    for name in ("status", "run_id", "metrics", "verdict"):
        if ours[name] != theirs[name]:
            return f"{name} differs"
    for name in ("deploys", "health", "translation"):
        if _told(ours, name) != _told(theirs, name):
            return f"training.{name} differs"
    a, b = (read_pairs(each / "pairs.h5") for each in (run, whole))
    if not np.array_equal(a.estimate, b.estimate, equal_nan=True):
        return "estimates differ"
    if (whole / "weights.safetensors").exists():
        (first, _), (second, _) = (read_tensors(each / "weights.safetensors") for each in (run, whole))
        if first.keys() != second.keys() or not all(torch.equal(first[key], second[key]) for key in first):
            return "weights differ"
    left = [path.name for path in run.rglob("*") if _LEFTOVER.fullmatch(path.name)]
    return f"leftovers stay: {', '.join(left)}" if left else ""


def _told(result: dict[str, Any], name: str) -> Any:
    return result["training"].get(name)
