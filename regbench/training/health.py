"""Health of what is being trained, told without labels: are the estimates homographies, do they vary, do they fit?

Every few steps, and at the end of each stage, what the stage deploys registers a few training pairs, always the same.
The measures are logged (``health.jsonl``) and summarised in the result; where they cannot be right, one line warns.
The strategy sees none of it and nothing is selected by it: the weights of the last step are judged.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
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
from regbench.results.layout import HEALTH
from regbench.results.store import append_json, read_json_lines
from regbench.seeds import seed_of

PAIRS = 16
COLLAPSED = 0.01
"""Magnitude or spread, as a share of the patch, below which estimates are as good as constant."""
DIVERGED = 0.3125
"""Magnitude, as a share of the patch, beyond any plausible range: 40 px at 128."""
LEAST_VALID = 0.5
"""Least share of estimates that are homographies."""
LEAST_OVERLAP = 0.4
"""Least share of the target that the warped source covers."""

_log = logging.getLogger("regbench")
_REASONS = {
    "collapsed": "its estimates are near zero or hardly differ between pairs",
    "diverged": "its estimates fold, or lie far beyond any plausible range",
    "out of view": "its estimates push the source out of the target's view",
}


def every(stage: Stage) -> int:
    """Steps from one check to the next: ten checks a stage, at least a hundred steps apart."""
    return max(100, stage.steps // 10)


def measures(displacement: Tensor, ok: Tensor, size: geometry.Size) -> dict[str, float]:
    """What estimates tell without labels.

    Args:
        displacement: ``(B, 4, 2)`` pixels at the source corners.
        ok: ``(B,)`` bool, False where the registrator failed.
        size: (height, width) of the source.

    Returns:
        ``valid``: share of estimates that did not fail, are finite, convex and not mirrored. Over those:
        ``magnitude``, mean length in pixels; ``spread``, standard deviation over pairs in pixels, mean over
        coordinates; ``overlap``, mean share of the target that the warped source covers. All zero where none is valid.
    """
    valid = ok & geometry.is_usable(displacement, size)
    estimates = displacement[valid].double()
    if not len(estimates):
        return {"valid": 0.0, "magnitude": 0.0, "spread": 0.0, "overlap": 0.0}
    back = geometry.invert(geometry.homography_from_displacement(estimates, size))
    return {
        "valid": float(valid.double().mean()),
        "magnitude": float(estimates.norm(dim=-1).mean()),
        "spread": float(estimates.std(dim=0, unbiased=False).mean()),
        "overlap": float(geometry.inside(back, size, size).mean()),
    }


def state_of(measured: Mapping[str, float], patch: int) -> str:
    """``ok``, ``collapsed``, ``diverged`` or ``out of view``; the worst one where several hold.

    Args:
        measured: of :func:`measures`.
        patch: side of the patch, px.
    """
    if measured["valid"] < LEAST_VALID or measured["magnitude"] > DIVERGED * patch:
        return "diverged"
    if measured["overlap"] < LEAST_OVERLAP:
        return "out of view"
    if min(measured["magnitude"], measured["spread"]) < COLLAPSED * patch:
        return "collapsed"
    return "ok"


class Health:
    """Checks what stages deploy, for the trainer.

    Args:
        folder: of the run.
        sampler: the run's data; labels it may hold are not read.
        run_id: of the run; each line carries a digest of itself and of the run id.
    """

    def __init__(self, folder: Path, sampler: PairSampler, run_id: str = "") -> None:
        self._path, self._sampler, self._run_id = folder / HEALTH, sampler, run_id
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
        measured = measures(registration.displacement, registration.ok, registration.size)
        state = state_of(measured, patch)
        entry = {"stage": stage.name, "step": step, "module": name}
        entry |= {key: round(value, 4) for key, value in measured.items()} | {"state": state}
        append_json(self._path, entry | {"digest": self._digest(entry)})
        # Estimates start near zero: only the end of a stage can tell that they stayed there.
        early = state == "collapsed" and step < stage.steps
        if state != "ok" and not early and (stage.name, state) not in self._warned:
            self._warned.add((stage.name, state))
            numbers = "valid {valid:.2f}, magnitude {magnitude:.1f} px, spread {spread:.1f} px, overlap {overlap:.2f}"
            looks = f"{name} of stage {stage.name} looks {state} at step {step}: {_REASONS[state]}"
            _log.warning("%s (%s)", looks, numbers.format(**measured))

    def summary(self, stages: Sequence[Stage]) -> list[dict[str, Any]]:
        """The last check of each stage, in order, an entry for each module.

        Lines that are damaged, edited or of another run are left out.
        """
        entries = list(self._entries())
        ends = [e for s in stages for e in entries if (e["stage"], e["step"]) == (s.name, s.steps)]
        return list({(e["stage"], e["module"]): e for e in ends}.values())  # a resume may check once more

    def missing(self, stage: Stage) -> list[str]:
        """The modules of a stage whose check at its end is not in the file."""
        present = {e["module"] for e in self.summary([stage])}
        return [name for name in stage.deploys if name not in present]

    def _entries(self) -> Iterator[dict[str, Any]]:
        for entry in read_json_lines(self._path):
            if entry.pop("digest", None) == self._digest(entry):
                yield entry
            else:
                _log.warning("%s: a line is not of this run or was edited, and was left out", self._path)

    def _digest(self, entry: Mapping[str, Any]) -> str:
        text = json.dumps([self._run_id, dict(entry)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
