"""Base of the learned matchers: published networks, whose weights a user downloads."""

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
from regbench_matchers.blocks.opencv import collect
from regbench_matchers.blocks.robust import RobustConfig, Solution, robust_homography

_FLAT = 1 / 255  # an image whose values span less has no content


class PretrainedConfig(RobustConfig):
    """Settings that every learned matcher has."""

    weights: str | None = Field(
        None, description="published file, or the folder of several; torch.hub's cache by default"
    )
    upscale: float = Field(1.0, ge=1, le=16, description="factor by which images are enlarged before they are matched")
    inliers: int = Field(4, ge=4, description="a pair with fewer fails")


@dataclass(frozen=True)
class PublishedFile:
    """One file of published weights.

    Attributes:
        submodule: the submodule of the matcher that it fills.
        names: names of the file; the first is its authors'.
        source: where a user gets it.
        keys: how its keys become ours, see :mod:`regbench_matchers.published_keys`.
    """

    submodule: str
    names: tuple[str, ...]
    source: str
    keys: tuple[tuple[str, str], ...] = ()


class PretrainedMatcher(Registrator):
    """Correspondences by a published network, homography by USAC_MAGSAC.

    Weights are read from ``config.weights`` or else from torch.hub's cache; nothing is ever downloaded. Weights of the
    whole matcher may also be loaded later from one safetensors file (``--weights``), which records their hash in the
    result. Without weights, the matcher can be built but not used. The networks stay in eval mode and get no gradient,
    because these matchers are not trained. A subclass implements :meth:`published` and :meth:`correspondences`.

    Args:
        config: its settings.
        info: facts of the pairs.
        networks: the submodules, by the names :meth:`published` uses.

    Raises:
        DataError: the files are not at ``config.weights``, or do not fit.
    """

    any_size = True
    config: PretrainedConfig

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
            self._missing = str(error)  # raised in forward, unless weights are loaded before
            return
        for file, path in zip(self.published(), paths, strict=True):
            _fill(self.get_submodule(file.submodule), file, path)

    @abstractmethod
    def published(self) -> Sequence[PublishedFile]:
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
        """One estimate, ``(1, B, 4, 2)`` pixels; ``ok`` is False for pairs without a homography.

        Raises:
            DataError: there are no weights; the message says which file is needed and where.
        """
        if self._missing is not None:
            raise DataError(self._missing)
        with torch.no_grad():
            homographies = [self._estimate(source[i : i + 1], target[i : i + 1]) for i in range(source.shape[0])]
        return collect(homographies, source)

    def train(self, mode: bool = True) -> PretrainedMatcher:
        """Set the mode of the matcher; its networks stay in eval mode."""
        super().train(mode)
        for network in self.children():
            network.eval()
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights of the whole matcher, as ``--weights`` does."""
        keys = super().load_state_dict(*args, **kwargs)
        self._missing = None
        return keys

    def _estimate(self, source: Tensor, target: Tensor) -> Solution | None:
        if any(image.amax() - image.amin() < _FLAT for image in (source, target)):
            return None  # in an image without content a network matches its own zero padding
        large = [_enlarged(image, self.config.upscale) for image in (source, target)]
        matches = self.correspondences(large[0], large[1])
        points = []
        for enlarged_points, enlarged, original in zip(matches, large, (source, target), strict=True):
            scale = [enlarged.shape[axis] / original.shape[axis] for axis in (-1, -2)]
            # Pixel centres lie at whole numbers: the enlarged x is (x + 1/2) scale - 1/2.
            points.append((enlarged_points.double().cpu().numpy() + 0.5) / np.array(scale) - 0.5)
        solution = robust_homography(points[0], points[1], self.config)
        return solution if solution is not None and solution.inliers >= self.config.inliers else None

    def _find(self, file: PublishedFile) -> Path:
        given = None if self.config.weights is None else Path(self.config.weights).expanduser()
        if given is not None and given.is_file():
            if len(self.published()) == 1:
                return given
            given = given.parent
        folder = given or hub_cache()
        for name in file.names:
            if (folder / name).is_file():
                return folder / name
        raise DataError(
            f"{type(self).__name__} has no weights: put {file.names[0]} (from {file.source}) into {folder}, "
            "or name its folder with --set registrator.weights=DIR"
        )


def _enlarged(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    size = [round(side * factor) for side in image.shape[-2:]]
    return F.interpolate(image, size=size, mode="bicubic", align_corners=False).clamp(0, 1)


def _fill(network: nn.Module, published: PublishedFile, path: Path) -> None:
    """Load a published file into a network; only buffers that are not learned may be missing from it.

    Raises:
        DataError: the file does not fit the network, or learned tensors are missing from it.
    """
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
        raise DataError(f"{path}: does not fit the network: {' '.join(str(error).split())[:300]}") from error
    if missing:
        raise DataError(f"{path}: not {published.names[0]}: {len(missing)} tensors are missing, such as {min(missing)}")
