"""Judges registrators on the frozen test pairs and keeps the error of every pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regbench import geometry
from regbench.api.registrator import Registrator
from regbench.data.test_pairs import TestPairs
from regbench.metrics.corner import Verdict, verdict
from regbench.metrics.summary import summarise
from regbench.metrics.timing import Timing, device_sync, measure
from regbench.results.pairs import Pairs
from regbench.seeds import seed_of

BATCH = 16
"""Pairs registered at once, unless a caller says otherwise."""


class Evaluator:
    """Scores registrators on the same test pairs.

    Args:
        test_pairs: what they register.
        batch: pairs registered at once; results do not depend on it.
    """

    def __init__(self, test_pairs: TestPairs, batch: int = BATCH) -> None:
        self.test_pairs, self.batch = test_pairs, batch

    def pairs(self, registrator: nn.Module) -> Pairs:
        """Register every test pair.

        Raises:
            PluginError: the registrator returned something that is no Registration of these pairs.
        """
        estimate, ok = self.estimates(registrator)
        errors = None
        manifest = self.test_pairs.manifest
        if manifest.points is not None:
            errors = tie_point_errors(estimate, manifest.points, self.test_pairs.patch)
        truth, image = manifest.draws.displacement, manifest.image
        return Pairs.of(truth.numpy(), estimate, ok, image.numpy(), errors)

    def estimates(
        self, registrator: nn.Module, *, backward: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Displacements ``(N, 4, 2)`` px and ``(N,)`` ok of all test pairs; ``backward`` registers target to source."""
        estimates, oks = [], []
        training = registrator.training
        registrator.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(self.test_pairs), self.batch):
                    torch.manual_seed(seed_of("evaluation", start))  # for methods that draw samples
                    images = self.test_pairs.images(start, start + self.batch)
                    self.test_pairs.prefetch(start + self.batch, start + 2 * self.batch)
                    estimate, ok = _register(registrator, *(images[::-1] if backward else images))
                    estimates.append(estimate)
                    oks.append(ok)
        finally:
            registrator.train(training)
        return torch.cat(estimates).float().cpu().numpy(), torch.cat(oks).cpu().numpy()

    def time(self, registrator: nn.Module, repeats: int = 20) -> Timing:
        """Time of registering one pair at batch 1, on this device."""
        source, target = self.test_pairs.images(0, 1)
        registrator.eval()
        with torch.inference_mode():
            return measure(
                lambda: _register(registrator, source, target),
                repeats=repeats,
                sync=device_sync(self.test_pairs.device),
            )


def judge(pairs: Pairs, metrics: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], Verdict]:
    """Metrics with their intervals by name, and the verdict.

    Args:
        pairs: the estimates with their errors.
        metrics: functions of :class:`regbench.PairErrors` by name.
    """
    measures = summarise(pairs.errors, metrics)
    return measures, verdict(measures["mace"]["value"], measures["identity_mace"]["value"])


def tie_point_errors(
    estimate: NDArray[np.float32], points: torch.Tensor, patch: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean distance in px of tie points from their partners, mapped by the estimate and unmapped, ``(N,)`` each.

    Args:
        estimate: ``(N, 4, 2)`` displacements px.
        points: ``(N, K, 4)``, ``x, y`` in the source then in the target, NaN where a pair has fewer.
        patch: side the displacements refer to, px.
    """
    homography = geometry.homography_from_displacement(torch.from_numpy(estimate).double(), (patch, patch))
    source, target = points[..., :2].double(), points[..., 2:].double()
    mapped = geometry.transform_points(homography, source)
    errors = [(position - target).norm(dim=-1) for position in (mapped, source)]
    exists = target.isfinite().all(-1)
    # A point that maps to infinity is an infinite error, not a missing point.
    errors = [torch.where(e.isfinite(), e, torch.inf).where(exists, torch.zeros(()).double()) for e in errors]
    estimated, identity = (e.sum(1) / exists.sum(1) for e in errors)
    return estimated.numpy(), identity.numpy()


def _register(registrator: nn.Module, source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(registrator, Registrator)
    registration = registrator.register(source, target)
    assert registration.ok is not None  # register() always fills it
    return registration.displacement, registration.ok
