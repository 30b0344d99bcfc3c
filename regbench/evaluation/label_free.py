"""Judging without truth: what can be said of estimates on really unaligned pairs that carry no label.

No measure here is an error in pixels against a truth; a result that holds them has ``truth: "none"``:

* edge agreement: how well edge orientations of the target and of the warped source agree where both images are visible,
  beside the same value for the images as they are. A pair that failed keeps the images as they are.
* cycle error: how far registering source to target and back moves a corner. A large one proves an error. A small one
  proves nothing: the identity has none.
* consistency: how far the estimates of two methods on the same pairs lie apart. Methods that agree may both be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regbench import geometry
from regbench.data.test_pairs import TestPairs
from regbench.errors import UsageError
from regbench.evaluation.evaluator import BATCH, Evaluator
from regbench.metrics.selective import TRUSTED
from regbench.metrics.summary import entry_of, mean_of
from regbench.metrics.uncertainty import Images
from regbench.ops.edges import edge_agreement, edge_field
from regbench.results.layout import PAIRS, RESULT
from regbench.results.pairs import Pairs, corner_error, read_pairs
from regbench.results.store import load_result

LEAST_OVERLAP = 0.1
"""Share of the target that must be covered; the edge agreement of a pair below it is zero."""
_BORDER = 4  # px; the rim of a warped image looks like an edge

Floats = NDArray[np.float64]


def assess(
    test_pairs: TestPairs, registrator: nn.Module, pairs: Pairs, batch: int = BATCH
) -> dict[str, dict[str, Any]]:
    """Label-free metrics with 95 % intervals over test images.

    Args:
        test_pairs: the images.
        registrator: what is judged; it registers every pair once more, target to source.
        pairs: its estimates.
        batch: pairs registered at once; results do not depend on it.

    Returns:
        ``edge_agreement``, ``identity_edge_agreement`` and ``edge_gain`` (their paired difference), all in [-1, 1];
        ``overlap``, the share of the target that is covered; ``cycle_error`` in px, of pairs that failed neither way;
        ``failed`` in percent; where ``pairs`` have confidences, ``trusted``, the percent of pairs with 0.5 or more.
        Each ``{"value", "ci95", "n"}``.
    """
    agreement, before, overlap = _edges(test_pairs, pairs, batch)
    backward, ok = Evaluator(test_pairs, batch).estimates(registrator, backward=True)
    usable = pairs.ok & np.isfinite(pairs.estimate).all((1, 2))
    cycle = _cycle(pairs.estimate, backward, test_pairs.patch)
    closed = usable & ok & np.isfinite(cycle)
    entries = {
        "edge_agreement": _entry(agreement, pairs.image),
        "identity_edge_agreement": _entry(before, pairs.image),
        "edge_gain": _entry(agreement - before, pairs.image),
        "overlap": _entry(overlap, pairs.image),
        "failed": _entry(100.0 * (~usable).astype(np.float64), pairs.image),
    }
    if pairs.confidence is not None:
        entries["trusted"] = _entry(100.0 * (pairs.confidence >= TRUSTED).astype(np.float64), pairs.image)
    return entries | {"cycle_error": _entry(cycle[closed], pairs.image[closed])}


def _edges(test_pairs: TestPairs, pairs: Pairs, batch: int) -> tuple[Floats, Floats, Floats]:
    """Edge agreement as estimated and as given, and the share of the target that is covered, ``(N,)`` each."""
    parts: list[list[torch.Tensor]] = [[], [], []]
    size = (test_pairs.patch, test_pairs.patch)
    for start in range(0, len(pairs.ok), batch):
        which = slice(start, start + batch)
        source, target = test_pairs.images(start, start + batch)
        usable = torch.from_numpy(pairs.ok[which] & np.isfinite(pairs.estimate[which]).all((1, 2)))
        estimate = torch.from_numpy(pairs.estimate[which]).where(usable[:, None, None], torch.zeros(()))
        homography = geometry.homography_from_displacement(estimate.to(source.device), size)
        visible = _both_visible(homography, size)
        share = visible.mean((1, 2, 3))
        fields = edge_field(geometry.warp(source, homography)), edge_field(target)
        laid = edge_agreement(*fields, visible).where(share > LEAST_OVERLAP, torch.zeros_like(share))
        rim = _both_visible(torch.eye(3, device=source.device)[None], size)
        asis = edge_agreement(edge_field(source), fields[1], rim)
        for part, values in zip(parts, (laid.where(usable.to(laid.device), asis), asis, share), strict=True):
            part.append(values)
    agreement, before, overlap = (torch.cat(part).double().cpu().numpy() for part in parts)
    return np.nan_to_num(agreement), before, overlap


def _both_visible(homography: torch.Tensor, size: geometry.Size) -> torch.Tensor:
    """``(B, 1, H, W)``: 1 where the target and the warped source both have pixels, away from the rim of either."""
    covered = geometry.inside(geometry.invert(homography), size, size)
    hidden = nn.functional.pad(1 - covered, (_BORDER,) * 4, value=1.0)
    return 1 - nn.functional.max_pool2d(hidden, 2 * _BORDER + 1, 1)


def _cycle(forward: NDArray[np.float32], backward: NDArray[np.float32], patch: int) -> Floats:
    """Mean distance in px of the corners from themselves after going there and back, ``(N,)``."""
    size = (patch, patch)
    there, back = (
        geometry.homography_from_displacement(torch.from_numpy(x).double(), size) for x in (forward, backward)
    )
    moved = geometry.displacement_from_homography(geometry.compose(back, there), size)
    return np.asarray(moved.norm(dim=-1).mean(-1).numpy(), np.float64)


def _entry(scores: Floats, image: NDArray[np.int32]) -> dict[str, Any]:
    return mean_of(scores, Images(image)) if len(scores) else entry_of(np.nan, None, 0)


def consistency(first: Path, second: Path) -> Mapping[str, Any]:
    """How far the estimates of two finished runs on the same test pairs lie apart.

    Args:
        first: a run directory.
        second: another.

    Returns:
        ``median`` and ``p90`` of the mean corner distance in px, ``within_3`` the percent of pairs nearer than 3 px,
        ``pairs`` the number of pairs on which neither failed, ``of`` the number of test pairs, ``truth`` of the runs.

    Raises:
        UsageError: the runs were judged on different pairs.
        DataError: a run is not there or broken.
    """
    results = [load_result(run / RESULT) for run in (first, second)]
    hashes = {r.identity.test_dataset.manifest_sha256 for r in results}
    if len(hashes) > 1:
        raise UsageError(f"{first} and {second} were judged on different test pairs; consistency needs the same ones")
    a, b = (read_pairs(run / PAIRS) for run in (first, second))
    distance = corner_error(a.estimate, b.estimate)
    both = a.ok & b.ok & np.isfinite(distance)
    known = distance[both]
    return {
        "runs": [r.run_id for r in results],
        "registrators": [r.identity.registrator.name for r in results],
        "truth": results[0].truth,
        "of": len(distance),
        "pairs": len(known),
        "median": round(float(np.median(known)), 4) if len(known) else None,
        "p90": round(float(np.percentile(known, 90)), 4) if len(known) else None,
        "within_3": round(100 * float((known < 3).mean()), 2) if len(known) else None,
    }
