"""The names of all files that a run, or a cell of a grid, leaves in its folder. No other module spells one."""

from __future__ import annotations

import shutil
from pathlib import Path

CONFIG = "config.json"
"""The identity of the run, its run id, and name and steps of its stages; written when the run begins."""
RESULT = "result.json"
"""The record of the run (:mod:`regbench.results.schema`)."""
PAIRS = "pairs.h5"
"""What happened to every test pair (:mod:`regbench.results.pairs`)."""
LOG = "log.jsonl"
"""Losses, a line each time progress is reported."""
CURVE = "curve.jsonl"
"""Scores of what stages deploy, a line each time they are judged."""
HEALTH = "health.jsonl"
"""Checks without labels of what stages deploy, a line each."""
CHECKPOINT = "checkpoint.safetensors"
"""What a resume needs (:mod:`regbench.training.checkpoint`)."""
WEIGHTS = "weights.safetensors"
"""Every module of the run after training."""
REPORT = "report.html"
"""The run as a page, where one was asked for."""
TENSORBOARD = "events.out.tfevents"
"""How the names of files begin that `regbench tensorboard` writes."""
GALLERY = "gallery.png"
"""What the run's translator does."""
DEPLOYS = "deploys"
"""Folder of the test pairs as each stage left them, see :func:`deployed_pairs`."""
LOCK = ".lock"
"""Held while a process works on the run."""

CELL_RECORD = "cell.json"
"""In a cell's folder: its command line and what became of it."""
CELL_LOG = "log.txt"
"""In a cell's folder: what its process wrote to stderr."""
CELL_STDOUT = "stdout.json"
"""In a cell's folder: what its process wrote to stdout, the result as JSON."""
SHARED_STAGES = "shared"
"""Beside the folders of grids: the stages that several cells have in common."""
JOBS = "jobs"
"""In a grid's folder: what submitit writes, a folder a job."""


def deployed_pairs(folder: Path, stage: str, module: str) -> Path:
    """``deploys/<stage>.<module>.h5``: as ``pairs.h5``, of a module at the end of a stage that deploys it."""
    return folder / DEPLOYS / f"{stage}.{module}.h5"


def remove_outcome(folder: Path) -> None:
    """Delete what an earlier execution of a run left, so that the run begins afresh."""
    for name in (RESULT, PAIRS, CHECKPOINT, LOG, CURVE, HEALTH, WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / DEPLOYS, ignore_errors=True)
