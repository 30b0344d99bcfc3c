"""The matchers of the package ``vismatch``, if it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from regbench import DataError, PairInfo, Registration, Registrator
from regbench.weights.used import note_tensors, weights_wanted
from regbench_matchers.blocks.opencv import collect
from regbench_matchers.blocks.robust import RobustConfig, Solution, robust_homography

_Match = Callable[[Tensor, Tensor], dict[str, Any]]


class VismatchConfig(RobustConfig):
    """The matcher to use, which each registered name sets, and its keypoints."""

    matcher: str = Field("sift-nn", description="name in vismatch.available_models")
    count: int = Field(2048, ge=4, description="strongest keypoints kept, where the matcher has keypoints")


class Vismatch(Registrator):
    """Correspondences by a matcher of vismatch, homography by USAC_MAGSAC.

    The matcher is built at its first use, or when a run is planned, whose identity holds the hash of its weights.
    vismatch then downloads them; ``HF_HUB_OFFLINE=1`` forbids that.
    Matchers that draw samples are seeded for each pair.
    """

    Config = VismatchConfig
    config: VismatchConfig
    any_size = True

    def __init__(self, config: VismatchConfig, info: PairInfo) -> None:
        super().__init__(config, info)
        self._built: dict[str, _Match] = {}  # by device
        if weights_wanted():
            matcher = self._matcher("cpu")
            if isinstance(matcher, nn.Module) and (tensors := matcher.state_dict()):
                note_tensors(f"vismatch {config.matcher}", tensors)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False for pairs without a homography.

        Raises:
            DataError: vismatch cannot build the matcher, usually because its weights are missing.
        """
        match = self._matcher(str(source.device))
        with torch.random.fork_rng():
            return collect([self._estimate(match, s, t) for s, t in zip(source, target, strict=True)], source)

    def _matcher(self, device: str) -> _Match:
        if device not in self._built:
            try:
                build = import_module("vismatch").get_matcher
                self._built[device] = build(self.config.matcher, device=device, max_num_keypoints=self.config.count)
            except Exception as error:  # whatever the wrapped repository raises
                reason = " ".join(str(error).split())[:200]
                raise DataError(f"vismatch cannot build {self.config.matcher!r}: {reason}") from error
        return self._built[device]

    def _estimate(self, match: _Match, source: Tensor, target: Tensor) -> Solution | None:
        torch.manual_seed(0)
        matches = match(source, target)
        points = [np.asarray(matches[f"matched_kpts{side}"], np.float64).reshape(-1, 2) for side in (0, 1)]
        return robust_homography(points[0], points[1], self.config)
