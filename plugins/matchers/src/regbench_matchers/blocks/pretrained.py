"""Learned matchers: published networks whose weights somebody has to fetch first."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from regbench import DataError, PairInfo, Registration, Registrator
from regbench.weights.published import hub_cache, read_published
from regbench_matchers.blocks.opencv import Matrix, collect
from regbench_matchers.blocks.robust import RobustConfig, robust_homography

_FLAT = 1 / 255


class PretrainedConfig(RobustConfig):
    """Settings every learned matcher has."""

    weights: str | None = Field(None, description="published file, or the folder of several; unset: torch.hub's cache")
    upscale: float = Field(1.0, ge=1, le=16, description="images are enlarged by this before they are matched")
    inliers: int = Field(4, ge=4, description="fewer are a failure")


@dataclass(frozen=True)
class Published:
    """One file of published weights.

    Attributes:
        part: which submodule of the matcher it fills.
        files: names it goes by; the first is the one its authors gave it.
        source: where to get it.
        keys: how its keys become ours: (regular expression, replacement), applied in order.
    """

    part: str
    files: tuple[str, ...]
    source: str
    keys: tuple[tuple[str, str], ...] = ()


class PretrainedMatcher(Registrator):
    """A published network gives correspondences, USAC_MAGSAC the homography.

    Weights are taken from ``weights``, else from torch.hub's cache, if they lie there; nothing is ever downloaded.
    Weights of the whole matcher in one safetensors file may also be loaded afterwards (``--weights``), which puts
    their hash in the result. Without any, the matcher can be built but not used. The networks stay in eval mode and
    get no gradient: this is a matcher, not a registrator to train.

    Args:
        config: its settings.
        info: facts of the pairs.
        networks: the parts, by the names :meth:`published` uses.

    Raises:
        DataError: ``config.weights`` names a place without the files, or files that do not fit.
    """

    any_size = True

    def __init__(self, config: PretrainedConfig, info: PairInfo, **networks: nn.Module) -> None:
        super().__init__(config, info)
        self._missing: str | None = None
        for name, network in networks.items():
            self.add_module(name, network.eval())
        try:
            paths = [self._find(file) for file in self.published()]
        except DataError as error:
            if config.weights is not None:
                raise
            self._missing = str(error)  # said when it is used: it may still be given weights
            return
        for file, path in zip(self.published(), paths, strict=True):
            _fill(self.get_submodule(file.part), file, path)

    @abstractmethod
    def published(self) -> Sequence[Published]:
        """The files that together fill this matcher."""

    @abstractmethod
    def correspondences(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Match one pair.

        Args:
            source: ``(1, 3, H, W)`` in [0, 1].
            target: ``(1, 3, H', W')``.

        Returns:
            ``(N, 2)`` pixels in the source and in the target, x then y, pixel centres at whole numbers.
        """

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """One iteration, ``(1, B, 4, 2)`` pixels; ``ok`` says where an answer was found.

        Raises:
            DataError: there are no weights; the message says which file to put where.
        """
        if self._missing is not None:
            raise DataError(self._missing)
        with torch.no_grad():
            found = [self._estimate(source[i : i + 1], target[i : i + 1]) for i in range(source.shape[0])]
        return collect(found, source)

    def train(self, mode: bool = True) -> PretrainedMatcher:
        """Set the mode of the matcher; its networks stay in eval mode."""
        super().train(mode)
        for network in self.children():
            network.eval()
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights of the whole matcher, as ``--weights`` does."""
        found = super().load_state_dict(*args, **kwargs)
        self._missing = None
        return found

    def _estimate(self, source: Tensor, target: Tensor) -> Matrix | None:
        if any(image.amax() - image.amin() < _FLAT for image in (source, target)):
            return None  # on nothing, a network matches its own zero padding
        large = [_enlarged(image, self.config.upscale) for image in (source, target)]
        found = self.correspondences(large[0], large[1])
        points = []
        for point, image, before in zip(found, large, (source, target), strict=True):
            # Pixel centres: x' = (x + 1/2) s - 1/2.
            scale = [image.shape[axis] / before.shape[axis] for axis in (-1, -2)]
            points.append((point.double().cpu().numpy() + 0.5) / np.array(scale) - 0.5)
        solved = robust_homography(points[0], points[1], self.config)
        return solved[0] if solved is not None and solved[1] >= self.config.inliers else None

    def _find(self, file: Published) -> Path:
        given = None if self.config.weights is None else Path(self.config.weights)
        if given is not None and given.is_file():
            if len(self.published()) == 1:
                return given
            given = given.parent
        folder = given or hub_cache()
        for name in file.files:
            if (folder / name).is_file():
                return folder / name
        raise DataError(
            f"{type(self).__name__} has no weights: put {file.files[0]} (from {file.source}) into {folder}, "
            "or name its folder with --set registrator.weights=DIR"
        )


def _enlarged(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    size = [round(side * factor) for side in image.shape[-2:]]
    return F.interpolate(image, size=size, mode="bicubic", align_corners=False).clamp(0, 1)


def _fill(network: nn.Module, published: Published, path: Path) -> None:
    """Load a published file; derived buffers may be absent from it, nothing that was learned may."""
    renamed = {}
    for key, value in read_published(path).items():
        for pattern, replacement in published.keys:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    learned = {name for name, _ in network.named_parameters()}
    learned |= {name for name, _ in network.named_buffers() if "running_" in name}
    try:
        missing = set(network.load_state_dict(renamed, strict=False).missing_keys) & learned
    except RuntimeError as error:
        raise DataError(f"{path}: does not fit: {' '.join(str(error).split())[:300]}") from error
    if missing:
        raise DataError(f"{path}: is not {published.files[0]}: {len(missing)} tensors such as {min(missing)} missing")
