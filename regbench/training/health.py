"""Health of what is being trained, told without labels: are the estimates homographies, do they vary, do they fit?

Every few steps, and at the end of each stage, what the stage deploys registers a few training pairs, always the same.
What it says is logged (``health.jsonl``), summarised in the result, and warned of in one line when it cannot be right.
Nothing of it reaches the strategy, and nothing is chosen by it: what is judged is what the last step left.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regbench import geometry
from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.types import Pair
from regbench.data.sampler import PairSampler
from regbench.seeds import seed_of

FILE = "health.jsonl"
PAIRS = 16
COLLAPSED, DIVERGED, LEAST_VALID, LEAST_OVERLAP = 0.01, 0.3125, 0.5, 0.4
"""Shares of the patch below which estimates are as good as constant, and above which they are out of any range (40 px
at 128); the least share of estimates that are homographies, and the least area of the target they may leave covered."""

_log = logging.getLogger("regbench")
_WORDS = {
    "collapsed": "its estimates are near zero or hardly differ between pairs",
    "diverged": "its estimates fold, or lie far beyond any plausible range",
    "out of view": "its estimates push the source out of the target's view",
}


def every(stage: Stage) -> int:
    """Steps from one check to the next: ten a stage, none closer than a hundred steps."""
    return max(100, stage.steps // 10)


def measures(displacement: Tensor, ok: Tensor, size: geometry.Size) -> dict[str, float]:
    """What estimates say of themselves.

    Args:
        displacement: ``(B, 4, 2)`` pixels at the source corners.
        ok: ``(B,)`` bool, False where the registrator found nothing.
        size: (height, width) of the source.

    Returns:
        ``valid``: share that is found, finite, convex and not mirrored. Of those: ``magnitude``, mean length in pixels;
        ``spread``, standard deviation over pairs in pixels, mean over coordinates; ``overlap``, mean share of the
        target that the warped source covers. All zero where none is valid.
    """
    valid = ok & displacement.isfinite().all(dim=-1).all(dim=-1) & geometry.is_convex(displacement, size)
    found = displacement[valid].double()
    if not len(found):
        return {"valid": 0.0, "magnitude": 0.0, "spread": 0.0, "overlap": 0.0}
    back = geometry.invert(geometry.homography_from_displacement(found, size))
    return {
        "valid": float(valid.double().mean()),
        "magnitude": float(found.norm(dim=-1).mean()),
        "spread": float(found.std(dim=0, unbiased=False).mean()),
        "overlap": float(geometry.inside(back, size, size).mean()),
    }


def state_of(found: dict[str, float], patch: int) -> str:
    """``ok``, ``collapsed``, ``diverged`` or ``out of view``; of several, the one that says most."""
    if found["valid"] < LEAST_VALID or found["magnitude"] > DIVERGED * patch:
        return "diverged"
    if found["overlap"] < LEAST_OVERLAP:
        return "out of view"
    if min(found["magnitude"], found["spread"]) < COLLAPSED * patch:
        return "collapsed"
    return "ok"


class Health:
    """Watches what stages deploy, for the trainer.

    Args:
        folder: of the run.
        sampler: the run's data; labels it may hold are not looked at.
    """

    def __init__(self, folder: Path, sampler: PairSampler) -> None:
        self._path, self._sampler = folder / FILE, sampler
        self._warned: set[tuple[str, str]] = set()

    @cached_property
    def _pair(self) -> Pair:
        return self._sampler.batch("health", 0, PAIRS, ("pair",)).pair

    def __call__(self, module: nn.Module, name: str, stage: Stage, step: int) -> None:
        """Check one module after ``step`` steps of a stage."""
        assert isinstance(module, Registrator)
        pair = self._pair
        training = module.training
        module.eval()
        torch.manual_seed(seed_of("health"))  # for methods that draw samples; every step seeds itself anew
        with torch.no_grad():
            registration = module.register(pair.source, pair.target)
        module.train(training)
        assert registration.ok is not None  # register() always fills it
        patch = registration.size[0]
        found = measures(registration.displacement, registration.ok, registration.size)
        state = state_of(found, patch)
        entry = {"stage": stage.name, "step": step, "module": name}
        entry |= {key: round(value, 4) for key, value in found.items()} | {"state": state}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        # Estimates start near zero: only the end of a stage can tell that they stayed there.
        early = state == "collapsed" and step < stage.steps
        if state != "ok" and not early and (stage.name, state) not in self._warned:
            self._warned.add((stage.name, state))
            _log.warning(
                "%s of stage %s looks %s at step %d: %s (valid %.2f, magnitude %.1f px, spread %.1f px, overlap %.2f)",
                name, stage.name, state, step, _WORDS[state], *found.values(),
            )  # fmt: skip

    def summary(self, stages: Sequence[Stage]) -> list[dict[str, Any]]:
        """The check at the end of each stage, in order, a module each."""
        if not self._path.is_file():
            return []
        entries = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        ends = [e for s in stages for e in entries if (e["stage"], e["step"]) == (s.name, s.steps)]
        return list({(e["stage"], e["module"]): e for e in ends}.values())  # a resume may check once more
