"""Judges a registrator on the frozen test pairs; the error of every pair is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from regbench import geometry
from regbench.api.registrator import Registrator
from regbench.config import Protocol
from regbench.data.manifest import Manifest
from regbench.data.pack import Pack
from regbench.data.pairs import cut, sides
from regbench.errors import PluginError
from regbench.metrics.corner import Verdict, verdict
from regbench.metrics.summary import summarise
from regbench.metrics.timing import Timing, device_sync, measure
from regbench.results.pairs import Pairs
from regbench.seeds import seed_of


class Evaluator:
    """Scores registrators on one manifest.

    Args:
        pack: holds the test images.
        manifest: the frozen pairs.
        protocol: which side is the source, and the patch.
        device: where to run.
        batch: pairs registered at once; results do not depend on it.
    """

    def __init__(
        self, pack: Pack, manifest: Manifest, protocol: Protocol, device: torch.device | str = "cpu", batch: int = 16
    ) -> None:
        self.device = torch.device(device)
        self.manifest, self.patch, self.batch = manifest, protocol.patch, batch
        self.name = pack.name
        self._source, self._target = sides(pack, "test", protocol, self.device)
        self._unwarped = not pack.aligned  # really unaligned pairs are taken as they are

    def pairs(self, registrator: nn.Module) -> Pairs:
        """Register every test pair.

        Raises:
            PluginError: the registrator returned something that is no Registration of these pairs.
        """
        draws = self.manifest.draws
        estimates, oks = [], []
        training = registrator.training
        registrator.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(draws), self.batch):
                    torch.manual_seed(seed_of("evaluation", start))  # for methods that draw samples
                    source, target = self.images(start, start + self.batch)
                    estimate, ok = _register(registrator, source, target)
                    estimates.append(estimate)
                    oks.append(ok)
        finally:
            registrator.train(training)
        return Pairs.of(
            draws.displacement.numpy(),
            torch.cat(estimates).float().cpu().numpy(),
            torch.cat(oks).cpu().numpy(),
            self.manifest.image.numpy(),
        )

    def images(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Source and target patches ``(B, 3, patch, patch)`` of the test pairs start..stop-1."""
        draws = self.manifest.draws[slice(start, stop)]
        shift = geometry.translation(draws.origin)
        hidden = shift
        if not self._unwarped:
            size = (self.patch, self.patch)
            hidden = shift @ geometry.homography_from_displacement(draws.displacement, size)
        index = draws.index.to(self.device)
        source = cut(self._source, index, hidden.to(self.device), self.patch)
        return source, cut(self._target, index, shift.to(self.device), self.patch)

    def time(self, registrator: nn.Module, repeats: int = 20) -> Timing:
        """Time of registering one pair at batch 1, on this device."""
        source, target = self.images(0, 1)
        registrator.eval()
        with torch.inference_mode():
            return measure(
                lambda: _register(registrator, source, target), repeats=repeats, sync=device_sync(self.device)
            )


def judge(pairs: Pairs, metrics: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], Verdict]:
    """Metrics with intervals, and the verdict in a word."""
    found = summarise(pairs.errors, metrics)
    return found, verdict(found["mace"]["value"], found["identity_mace"]["value"])


def _register(registrator: nn.Module, source: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(registrator, Registrator)
    found = registrator.register(source, target)
    if found.displacement.shape != (source.shape[0], 4, 2):
        raise PluginError(
            f"{type(registrator).__name__} returned displacements {tuple(found.displacement.shape)} "
            f"for {source.shape[0]} pairs; expected ({source.shape[0]}, 4, 2)"
        )
    assert found.ok is not None  # register() always fills it
    return found.displacement, found.ok
